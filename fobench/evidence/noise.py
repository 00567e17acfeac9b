"""How far the clock can be trusted: what equal work takes, and runs that stand out.

All take a table of `fobench.evidence.pairs.table`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import t as student

from fobench.evidence.intervals import CONFIDENCE

# A time this far from its method's median, and from the spread of all, is named as an outlier.
OUTLYING_LOG_RATIO = 0.05
OUTLYING_DEVIATIONS = 3.5
MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Noise:
    """How far what should be equal strays: the standard deviation of its log, in percent."""

    percent: float
    degrees: int  # of freedom

    def within(self, values: int) -> float:
        """The percent within which, 95 times in 100, such a value lies (1), or two differ (2)."""
        quantile = student.ppf(0.5 + CONFIDENCE / 2, self.degrees)
        return 100 * math.expm1(quantile * math.sqrt(values) * math.log1p(self.percent / 100))


def noise_of_repeats(runs: pd.DataFrame) -> Noise | None:
    """A/A: how far the times of a seed's repeats stray; None without repeats."""
    return noise(runs, ["variant", "machine", "seed"], lambda group: group["train_seconds"])


def noise_of_seeds(runs: pd.DataFrame) -> Noise | None:
    """How far the times of a method's seeds stray: equal work, but far apart in time."""
    firsts = runs[runs["repeat"] == 0]
    return noise(firsts, ["variant", "machine"], lambda group: group["train_seconds"])


def noise_of_pairs(runs: pd.DataFrame) -> Noise | None:
    """How far the ratios of a method's seeds to their baselines stray: what is left in pairs."""
    firsts = runs[(runs["repeat"] == 0) & runs["log_ratio"].notna() & (runs["log_ratio"] != 0)]
    return noise(firsts, ["variant", "machine"], lambda group: group["log_ratio"].map(math.exp))


def noise_of_first_epochs(runs: pd.DataFrame) -> Noise | None:
    """How far the first epochs of a seed's runs stray: equal work, as nothing is frozen in them."""
    alike = runs[runs["first_epoch_seconds"].notna()]
    return noise(alike, ["machine", "seed"], lambda group: group["first_epoch_seconds"])


def noise(
    runs: pd.DataFrame, by: Sequence[str], values: Callable[[pd.DataFrame], Iterable[float]]
) -> Noise | None:
    """The deviation of what should be equal within groups, pooled; None where nothing is twice."""
    squares, degrees = 0.0, 0
    for _, group in runs[runs["timed"]].groupby(list(by)):
        logs = [math.log(value) for value in values(group)]
        mean = math.fsum(logs) / len(logs)
        squares += math.fsum((log - mean) ** 2 for log in logs)
        degrees += len(logs) - 1
    if not degrees:
        return None
    return Noise(100 * math.expm1(math.sqrt(squares / degrees)), degrees)


def outliers(runs: pd.DataFrame) -> list[tuple[str, float]] | None:
    """Runs whose time strays from the median of their variant and machine, and by what percent.

    What counts as straying is judged by all runs that have two others beside them; None where there
    are no such runs.
    """
    strays = []
    for _, group in runs[runs["timed"]].groupby(["variant", "machine"], sort=False):
        if len(group) >= 3:
            median = group["train_seconds"].median()
            strays += [
                (run_id, math.log(seconds / median))
                for run_id, seconds in zip(group["id"], group["train_seconds"], strict=True)
            ]
    if not strays:
        return None
    # A median's own run strays by nothing, which tells nothing of how far runs stray.
    sizes = pd.Series([abs(stray) for _, stray in strays if stray])
    deviation = MAD_TO_DEVIATION * sizes.median() if len(sizes) else 0.0
    limit = max(OUTLYING_LOG_RATIO, OUTLYING_DEVIATIONS * deviation)
    return [(run_id, 100 * math.expm1(stray)) for run_id, stray in strays if abs(stray) > limit]
