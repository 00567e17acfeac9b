"""Findings: the figures of a setting in an experiment, and whether they lie in their margins."""

import math
from dataclasses import dataclass, replace

import pandas as pd

from fobench.evidence.intervals import Interval
from fobench.evidence.outcomes import (
    NOT_TESTED,
    PREDICTION_POINTS,
    Judgement,
    Margin,
    Measure,
    all_of,
    judge,
)

ANY = Margin()
TIME_SAVED = "time saved, %"
TIMED_RUNS = "timed runs"


@dataclass(frozen=True)
class Finding:
    """What a test found for a setting; `times` and `errors` are the n of each."""

    setting: str
    judgement: Judgement
    measures: tuple[Measure, ...] = ()
    times: int = 0
    errors: int = 0


def finding(setting: str, time: Measure | None, error: Measure | None) -> Finding:
    """The finding of a time and an error; those with a margin are judged."""
    measures = tuple(each for each in (time, error) if each is not None)
    judgement = all_of([judge(each) for each in measures if each.margin.ends])
    times, errors = (0 if each is None else each.interval.n for each in (time, error))
    return Finding(setting, judgement, measures, times, errors)


def not_tested(setting: str, needs: str, time: Measure | None = None) -> Finding:
    """A finding without an outcome, and what is missing; `time` is shown, if it is known."""
    judgement = Judgement(NOT_TESTED, needs=needs)
    if time is None or math.isnan(time.interval.mean):
        return Finding(setting, judgement)
    return Finding(setting, judgement, (time,), times=time.interval.n)


def time_saved(row: pd.Series, margin: Margin = ANY) -> Measure:
    """The time saved of a summary's row, measured or predicted."""
    saved = interval_of(row, "saved", row["pairs"])
    measure = Measure(TIME_SAVED, saved, margin, scale=log_time_left)
    return predicted(measure, row["saved"]) if row["predicted"] else measure


def points(name: str, interval: Interval, margin: Margin) -> Measure:
    """A difference of test errors."""
    return Measure(name, interval, margin, digits=2, sign=True)


def predicted(measure: Measure, value: float, accuracy: float = PREDICTION_POINTS) -> Measure:
    """The measure with a predicted value, which may be off by `accuracy`, in its unit."""
    return replace(
        measure,
        interval=Interval(value, None, None, 0),
        basis="predicted",
        accuracy=accuracy,
        needs=TIMED_RUNS,
    )


def log_time_left(saved: float) -> float:
    """The log of the time left of a time saved in percent, in which its interval is symmetric."""
    return math.log1p(-saved / 100) if saved < 100 else -math.inf


def interval_of(row: pd.Series, column: str, n: int) -> Interval:
    """The interval in the columns of a table."""
    low, high = (
        None if end is None or math.isnan(end) else float(end)
        for end in (row[f"{column}_low"], row[f"{column}_high"])
    )
    return Interval(float(row[column]), low, high, int(n))
