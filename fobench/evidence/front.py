"""A setting beside others: whether one of them is both faster and more accurate."""

import math
from collections.abc import Sequence

import pandas as pd

from fobench.evidence.findings import Finding, points, predicted
from fobench.evidence.intervals import mean_interval
from fobench.evidence.outcomes import (
    FAILS,
    HOLDS,
    PREDICTION_POINTS,
    Judgement,
    Margin,
    Measure,
    all_of,
    any_of,
    judge,
)

NOT_ABOVE = Margin(high=0.0)


def beside_others(runs: pd.DataFrame, row: pd.Series, others: Sequence[pd.Series]) -> Finding:
    """A setting, of a `pairs.table` and a row of its summary, beside the rows of others.

    It shows the differences to the critical one: the one that beats it, else the one that decides,
    else the nearest in time.
    """
    found = [(other, differences(runs, row, other)) for other in others]
    # What has one seed in common decides nothing, and must not hide what the others decide.
    several = [each for each in found if each[1][1].interval.n > 1] or found
    others, measures = zip(*several, strict=True)
    judgements = [not_beaten(*each) for each in measures]
    place = min(
        range(len(others)), key=lambda place: urgency(judgements[place], measures[place][0])
    )
    slower, worse = measures[place]
    critical = f"{others[place]['method'].label()} (1 of {len(others)})"
    label = f"{row['method'].label()}, beside {critical}"
    return Finding(label, all_of(judgements), (slower, worse), slower.interval.n, worse.interval.n)


def not_beaten(slower: Measure, worse: Measure) -> Judgement:
    """Holds if a setting is faster or more accurate than another one, fails if it is neither.

    The measures are its time and its error minus the other's.
    """
    return any_of([judge(slower), judge(worse)])


def urgency(judgement: Judgement, slower: Measure) -> tuple[int, float]:
    """A sort key: what fails, what leans to it, what takes most seeds, what is near in time."""
    if judgement.outcome == FAILS:
        return 0, 0.0
    if judgement.outcome == HOLDS:
        return 3, abs(slower.interval.mean)
    seeds = math.inf if math.isnan(judgement.seeds) else judgement.seeds
    return (1, seeds) if judgement.leans == FAILS else (2, -seeds)


def differences(runs: pd.DataFrame, row: pd.Series, other: pd.Series) -> tuple[Measure, Measure]:
    """Time (in percent) and error (in points) of a setting against another one, by seed."""
    columns = ["log_ratio", "test_error", "profile_saved"]
    groups = runs.groupby(["variant", "seed", "machine"])[columns].mean()
    one, another = (groups.loc[each["variant"]] for each in (row, other))
    apart = (one - another)[["log_ratio", "test_error"]]
    seeds = apart.groupby("seed").mean()
    times, errors = (mean_interval(seeds[column].dropna().tolist()) for column in seeds)
    slower = Measure(
        "time against it, %", times.map(percent_of_log), NOT_ABOVE, scale=log_of, sign=True
    )
    common = one.index.intersection(another.index)
    both = [each.loc[common, "profile_saved"].mean() for each in (one, another)]
    if not times.n and not any(map(math.isnan, both)):
        # Both for the same seeds; a measured time of few seeds may be further off.
        slower = predicted(slower, *ratio_of_predictions(*both))
    return slower, points("error against it, points", errors, NOT_ABOVE)


def ratio_of_predictions(saved: float, other: float) -> tuple[float, float]:
    """Time against another's in percent, from both times saved, and by how much it may be off."""
    left, left_by_other = 100 - saved, max(100 - other, PREDICTION_POINTS)
    # Either prediction may be off.
    relative = PREDICTION_POINTS / left + PREDICTION_POINTS / left_by_other
    return 100 * (left / left_by_other - 1), 100 * left / left_by_other * relative


def percent_of_log(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)


def log_of(percent: float) -> float:
    """The log of the ratio that a difference in percent stands for."""
    return math.log1p(percent / 100)
