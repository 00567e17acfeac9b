"""Intervals against margins, by hand."""

import math
from itertools import count

import pytest
from scipy import integrate

from fobench.evidence.findings import log_time_left
from fobench.evidence.front import NOT_ABOVE, not_beaten
from fobench.evidence.intervals import Interval, time_saved
from fobench.evidence.outcomes import (
    Judgement,
    Margin,
    Measure,
    all_of,
    any_of,
    judge,
    seeds_needed,
)


def measure(low, mean, high, margin=NOT_ABOVE, n=3, **options) -> Measure:
    return Measure("error, points", Interval(mean, low, high, n), margin, **options)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.4, 0.4, "holds"),
        (-0.5, 0.5, "holds"),
        (0.6, 0.9, "fails"),
        (-0.9, -0.6, "fails"),
        (0.4, 0.6, "undecided"),
        (-0.6, 0.6, "undecided"),
    ],
)
def test_an_interval_wholly_inside_holds_and_wholly_outside_fails(low, high, outcome):
    margin = Margin(-0.5, 0.5)
    assert judge(measure(low, (low + high) / 2, high, margin)).outcome == outcome


def test_one_seed_decides_nothing():
    judged = judge(measure(None, -9.0, None, n=1))
    assert (judged.outcome, judged.note) == ("undecided", "at least two seeds")


def test_what_was_not_measured_decides_nothing():
    judged = judge(measure(None, math.nan, None, n=0))
    assert (judged.outcome, judged.note) == ("undecided", "error was not measured")


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(22.1, "holds"), (21.9, "undecided"), (18.1, "undecided"), (17.9, "fails")],
)
def test_a_prediction_decides_only_beyond_its_accuracy(value, outcome):
    judged = judge(
        measure(None, value, None, Margin(low=20), n=0, accuracy=2.0, needs="timed runs")
    )
    assert judged.outcome == outcome
    assert judged.note == ("timed runs" if outcome == "undecided" else "")


def test_the_seeds_that_would_do_by_a_printed_table():
    """Deviation 2, distance 1: 2.110 · 2/√18 = 0.995 at n = 18, 2.120 · 2/√17 = 1.028 at 17."""
    half = 4.30265 * 2 / math.sqrt(3)
    assert seeds_needed(Interval(1.0, 1 - half, 1 + half, 3), [0.0, 5.0]) == 18
    assert judge(measure(1 - half, 1.0, 1 + half)).note == "n = 18"


def test_seeds_do_not_narrow_the_slack_of_an_interval():
    """As above, but slack takes 0.35 of the distance: 2.024 · 2/√39 = 0.648 at n = 39."""
    half = 4.30265 * 2 / math.sqrt(3)
    wide = measure(1 - half - 0.35, 1.0, 1 + half + 0.1, slack=(0.35, 0.1), needs="timed runs")
    assert quantile(38) * 2 / math.sqrt(39) < 0.65 < quantile(37) * 2 / math.sqrt(38)
    assert judge(wide).note == "n = 39"


@pytest.mark.parametrize(
    ("low", "slack", "note"),
    [
        # Without the slack, the whole interval lies above 0. Four seeds stay below 0.7: 0.51;
        # three do not: 0.8.
        (-0.1, 0.3, "timed runs, or n = 4"),
        # As before, but the slack alone reaches 0.
        (-0.1, 1.05, "timed runs"),
        # The slack alone reaches 0, and the rest of the interval too: 2.447 · 0.966/√7 = 0.89.
        (-2.4, 1.0, "timed runs, and n = 7"),
    ],
)
def test_where_slack_decides_timed_runs_would_help(low, slack, note):
    judged = judge(measure(low, 1.0, 2.0 - low, slack=(slack, slack), needs="timed runs"))
    assert (judged.outcome, judged.note) == ("undecided", note)


def quantile(degrees: int) -> float:
    """Of Student's t at 97.5 %, from its density alone, by bisection."""
    norm = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    norm /= math.sqrt(degrees * math.pi)
    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        share, _ = integrate.quad(
            lambda x: norm * (1 + x * x / degrees) ** (-(degrees + 1) / 2), 0, middle
        )
        low, high = (middle, high) if share < 0.475 else (low, middle)
    return low


def test_the_seeds_that_would_do_are_counted_where_the_interval_is_symmetric():
    """Of times, among logs: their deviation is 0.1, the margin of 20 % lies log(0.8) away."""
    logs = [math.log(0.75) + each for each in (-0.1, 0.0, 0.1)]
    saved = time_saved(logs)
    judged = judge(Measure("time saved, %", saved, Margin(low=20), scale=log_time_left))
    distance = math.log(0.8 / 0.75)
    expected = next(n for n in count(2) if quantile(n - 1) * 0.1 / math.sqrt(n) < distance)
    assert (judged.outcome, judged.seeds) == ("undecided", expected)


def test_more_than_a_thousand_seeds_are_not_counted():
    assert judge(measure(-1.0, 0.001, 1.002)).note == "n > 1,000"
    assert judge(measure(-1.0, 0.0, 1.0)).note == "n > 1,000"


HOLDS, FAILS = Judgement("holds", "holds"), Judgement("fails", "fails")


def leaning(outcome: str, seeds: float) -> Judgement:
    return Judgement("undecided", outcome, seeds)


@pytest.mark.parametrize(
    ("judgements", "outcome", "seeds"),
    [
        ([HOLDS, HOLDS], "holds", math.nan),
        ([HOLDS, FAILS, leaning("holds", 9)], "fails", math.nan),
        ([HOLDS, leaning("holds", 9)], "undecided", 9),
        ([leaning("holds", 4), leaning("holds", 9)], "undecided", 9),
        ([leaning("fails", 7), leaning("fails", 5), leaning("holds", 9)], "undecided", 5),
        ([leaning("fails", math.inf), leaning("holds", 9)], "undecided", math.inf),
    ],
)
def test_a_claim_of_two_parts_holds_if_both_do(judgements, outcome, seeds):
    """It is decided as soon as one part fails, else when all hold."""
    found = all_of(judgements)
    assert found.outcome == outcome
    assert found.seeds == pytest.approx(seeds, nan_ok=True)


def test_what_a_part_needs_is_said_unless_another_part_decides():
    missing = Judgement("undecided", needs="timed runs")
    assert all_of([missing, HOLDS]).note == "timed runs"
    assert all_of([missing, leaning("holds", 9)]).note == "timed runs, and n = 9"
    assert all_of([missing, leaning("fails", 9)]).note == "n = 9"
    assert all_of([missing, FAILS]).outcome == "fails"
    assert any_of([missing, HOLDS]).outcome == "holds"


@pytest.mark.parametrize(
    ("slower", "worse", "outcome"),
    [
        ((-3, -2, -1), (1, 2, 3), "holds"),
        ((1, 2, 3), (-3, -2, -1), "holds"),
        ((1, 2, 3), (1, 2, 3), "fails"),
        ((1, 2, 3), (-1, 1, 3), "undecided"),
        ((-1, 0.5, 2), (-1, 1, 3), "undecided"),
    ],
)
def test_a_setting_is_beaten_by_one_that_is_faster_and_more_accurate(slower, worse, outcome):
    assert not_beaten(measure(*slower), measure(*worse)).outcome == outcome
