"""Timing noise: the spread of times of equal work, and outliers.

All functions take a table made by `fobench.evidence.pairs.table`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fobench.evidence.intervals import CONFIDENCE

# An outlier differs from its method's median by more than both of these.
OUTLYING_LOG_RATIO = 0.05
OUTLYING_DEVIATIONS = 3.5
MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Noise:
    """The spread of values that should be equal: standard deviation of their logs, in percent."""

    percent: float
    degrees: float  # of freedom

    def half_width(self, values: int) -> float:
        """Half of the 95 % range, in percent, of a value (1) or of the difference of two (2)."""
        quantile = student.ppf(0.5 + CONFIDENCE / 2, self.degrees)
        return 100 * math.expm1(quantile * math.sqrt(values) * math.log1p(self.percent / 100))


def noise_of_repeats(runs: pd.DataFrame) -> Noise | None:
    """A/A: the spread of times among repeats of a seed; None without repeats."""
    return pooled_noise(runs, ["variant", "machine", "seed"], lambda group: group["train_seconds"])


def noise_of_seeds(runs: pd.DataFrame) -> Noise | None:
    """The spread of times among seeds of a method: equal work, but far apart in time."""
    firsts = runs[runs["repeat"] == 0]
    return pooled_noise(firsts, ["variant", "machine"], lambda group: group["train_seconds"])


def noise_of_pairs(runs: pd.DataFrame) -> Noise | None:
    """The spread of time ratios to the baseline among a method's seeds: the noise left in pairs."""
    firsts = runs[(runs["repeat"] == 0) & runs["log_ratio"].notna() & (runs["log_ratio"] != 0)]
    firsts = firsts[firsts["timed"]]
    by = ["variant", "machine"]
    found = pooled_noise(firsts, by, lambda group: group["log_ratio"].map(math.exp))
    if found is None:
        return None
    groups = firsts.groupby(by).ngroup().to_numpy()
    baselines = firsts.groupby("baseline").ngroup().to_numpy()
    return replace(found, degrees=degrees_of_pairs(groups, baselines))


def degrees_of_pairs(groups: np.ndarray, baselines: np.ndarray) -> float:
    """Degrees of freedom of the pooled deviation of pairs, with their groups and baselines [pairs].

    Pairs with one baseline share its noise, so they are fewer than independent ones. With equal
    noise in all runs, the deviations have the covariance V = I + (1 where baselines are equal); for
    the sum of squares d'Ad, Satterthwaite's approximation gives tr(AV)² / tr((AV)²).
    """
    alike = groups[:, None] == groups
    centring = np.eye(len(groups)) - alike / alike.sum(0)
    product = centring @ (np.eye(len(groups)) + (baselines[:, None] == baselines))
    return float(np.trace(product) ** 2 / np.trace(product @ product))


def noise_of_first_epochs(runs: pd.DataFrame) -> Noise | None:
    """The spread of first epochs among runs of a seed: equal work, as nothing is frozen yet."""
    alike = runs[runs["first_epoch_seconds"].notna()]
    return pooled_noise(alike, ["machine", "seed"], lambda group: group["first_epoch_seconds"])


def pooled_noise(
    runs: pd.DataFrame, by: Sequence[str], values: Callable[[pd.DataFrame], Iterable[float]]
) -> Noise | None:
    """The pooled deviation within groups of equal work; None if no group has two values."""
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
    """Runs whose time deviates from the median of their variant and machine, and by what percent.

    The threshold comes from all variants with at least three runs; None if there are none.
    """
    deviations = []
    for _, group in runs[runs["timed"]].groupby(["variant", "machine"], sort=False):
        if len(group) >= 3:
            median = group["train_seconds"].median()
            deviations += [
                (run_id, math.log(seconds / median))
                for run_id, seconds in zip(group["id"], group["train_seconds"], strict=True)
            ]
    if not deviations:
        return None
    # The median run itself deviates by 0, which says nothing about the spread.
    sizes = pd.Series([abs(deviation) for _, deviation in deviations if deviation])
    standard_deviation = MAD_TO_DEVIATION * sizes.median() if len(sizes) else 0.0
    limit = max(OUTLYING_LOG_RATIO, OUTLYING_DEVIATIONS * standard_deviation)
    return [
        (run_id, 100 * math.expm1(deviation))
        for run_id, deviation in deviations
        if abs(deviation) > limit
    ]
