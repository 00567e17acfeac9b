"""Whether a figure lies inside its margin: holds, fails or undecided, and what would decide it.

Pure functions of intervals and margins; `fobench.evidence.claim_tests` finds the figures.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import t as student

from fobench.evidence.intervals import CONFIDENCE, Interval

Outcome = Literal["holds", "fails", "undecided", "not tested"]
HOLDS: Outcome = "holds"
FAILS: Outcome = "fails"
UNDECIDED: Outcome = "undecided"
NOT_TESTED: Outcome = "not tested"
# What would decide a figure of a single seed.
TWO_SEEDS = "at least two seeds"
# The largest number of seeds that a verdict names.
MOST_SEEDS = 1000
# By how many points a predicted time may be off: more than the worst in the table of
# docs/predictions.md. Single runs of docs/results.md were further off, with stores on a card, and
# on cores whose speed drifts.
PREDICTION_POINTS = 4.0


@dataclass(frozen=True)
class Margin:
    """The values, both ends included, for which a claim holds; fixed before looking at results."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def ends(self) -> list[float]:
        return [end for end in (self.low, self.high) if math.isfinite(end)]

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def unchanged(value: float) -> float:
    return value


@dataclass(frozen=True)
class Measure:
    """A figure beside its margin; its name says the unit, `digits` and `sign` how it is shown.

    `scale` maps it to where its interval was computed and is symmetric. `slack` is the part of the
    interval, below and above the mean, that more seeds of the same kind would not narrow; a measure
    with slack has no scale. A value that is no mean over seeds says what it is in `basis`, such as
    "predicted"; it has no interval but an `accuracy`. With slack or accuracy, `needs` says what
    else than seeds would help.
    """

    name: str
    interval: Interval
    margin: Margin
    scale: Callable[[float], float] = unchanged
    basis: str = ""
    slack: tuple[float, float] = (0.0, 0.0)
    accuracy: float = 0.0
    needs: str = ""
    digits: int = 1
    sign: bool = False


@dataclass(frozen=True)
class Judgement:
    """An outcome. If undecided: to which outcome its mean leans, and what would decide it.

    That is `seeds`, infinite for more than MOST_SEEDS, or else what is said in `needs`.
    """

    outcome: Outcome
    leans: Outcome = UNDECIDED
    seeds: float = math.nan
    needs: str = ""

    @property
    def note(self) -> str:
        """What would decide it; empty if it is decided."""
        if self.needs or math.isnan(self.seeds):
            return self.needs
        return seeds_note(self.seeds)


def judge(measure: Measure) -> Judgement:
    """Holds if the interval lies wholly inside the margin, fails if wholly outside."""
    mean, margin = measure.interval.mean, measure.margin
    if math.isnan(mean):
        return Judgement(UNDECIDED, needs=f"{measure.name.partition(',')[0]} was not measured")
    low, high = measure.interval.low, measure.interval.high
    if measure.accuracy:
        low, high = mean - measure.accuracy, mean + measure.accuracy
    if low is None or high is None:
        return Judgement(UNDECIDED, needs=TWO_SEEDS)
    outcome = outcome_of(low, high, margin)
    if outcome != UNDECIDED:
        return Judgement(outcome, outcome)
    leans = HOLDS if mean in margin else FAILS
    if measure.accuracy:
        return Judgement(UNDECIDED, leans, needs=measure.needs)
    seeds, needs = needed(measure)
    return Judgement(UNDECIDED, leans, seeds, needs)


def needed(measure: Measure) -> tuple[float, str]:
    """What would decide a measure: a number of seeds, or what to do beside or in place of them."""
    (below, above), interval = measure.slack, measure.interval
    ends = [measure.scale(end) for end in measure.margin.ends]
    alone = replace(interval, low=interval.low + below, high=interval.high - above)
    seeds = seeds_needed(alone.map(measure.scale), ends, measure.slack)
    if outcome_of(alone.low, alone.high, measure.margin) != UNDECIDED:
        as_well = "" if math.isnan(seeds) else f", or {seeds_note(seeds)}"
        return math.nan, measure.needs + as_well
    if math.isnan(seeds):
        return math.nan, f"{measure.needs}, and {seeds_note(seeds_needed(alone, ends))}"
    return seeds, ""


def seeds_note(seeds: float) -> str:
    return f"n = {seeds:.0f}" if seeds <= MOST_SEEDS else f"n > {MOST_SEEDS:,}"


def outcome_of(low: float, high: float, margin: Margin) -> Outcome:
    """Whether an interval lies in a margin, outside, or neither."""
    if low in margin and high in margin:
        return HOLDS
    return FAILS if high < margin.low or low > margin.high else UNDECIDED


def seeds_needed(
    interval: Interval, ends: Sequence[float], slack: tuple[float, float] = (0.0, 0.0)
) -> float:
    """The smallest n whose 95 % t interval around the same mean reaches none of the ends.

    It takes the standard deviation for that of the interval's own n values. By `slack` the
    interval is wider below and above the mean, whatever n: of a distance to the line to beat, with
    the same share of seeds timed. Infinite for more than MOST_SEEDS; NaN if no number would do, as
    slack alone reaches an end.
    """
    quantile = student.ppf(0.5 + CONFIDENCE / 2, interval.n - 1)
    deviation = (interval.high - interval.low) / 2 * math.sqrt(interval.n) / quantile
    below, above = slack
    distance = min(
        interval.mean - end - below if end < interval.mean else end - interval.mean - above
        for end in ends
    )
    if distance <= 0 and any(slack):
        return math.nan
    numbers = np.arange(2, MOST_SEEDS + 1)
    half_widths = student.ppf(0.5 + CONFIDENCE / 2, numbers - 1) * deviation / np.sqrt(numbers)
    enough = numbers[half_widths < distance]
    return float(enough[0]) if len(enough) else math.inf


def all_of(judgements: Iterable[Judgement]) -> Judgement:
    """Holds if all hold, fails if one fails."""
    return combine(list(judgements), FAILS, HOLDS)


def any_of(judgements: Iterable[Judgement]) -> Judgement:
    """Holds if one holds, fails if all fail."""
    return combine(list(judgements), HOLDS, FAILS)


def combine(judgements: Sequence[Judgement], one: Outcome, every: Outcome) -> Judgement:
    """The outcome `one` if any has it, `every` if all have that, else undecided.

    If undecided ones lean to `one`, the first of them to get there decides; else all must.
    """
    outcomes = {each.outcome for each in judgements}
    if one in outcomes:
        return Judgement(one, one)
    if outcomes == {every}:
        return Judgement(every, every)
    undecided = [each for each in judgements if each.outcome == UNDECIDED]
    needs = "; ".join(dict.fromkeys(each.needs for each in undecided if each.needs))
    leaning = [each.seeds for each in undecided if each.leans == one and not each.needs]
    if needs and not leaning:
        known = [each.seeds for each in undecided if not each.needs]
        as_well = f", and {seeds_note(max(known))}" if known else ""
        return Judgement(UNDECIDED, needs=needs + as_well)
    seeds = min(leaning) if leaning else max(each.seeds for each in undecided)
    return Judgement(UNDECIDED, one if leaning else every, seeds)
