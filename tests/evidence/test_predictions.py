"""Predictions of the time saved beside measured ones: shown, and named where they miss."""

from pathlib import Path

import pytest

from fobench.evidence.predictions import missed
from fobench.evidence.results import results_of
from fobench.report.tables import predictions_table
from fobench.report.warnings import warnings
from tests.evidence.test_stats import result


def pairs(*seconds: float, profile: float | None = 20.0) -> list:
    """A pair in each seed, of a baseline of 100 s."""
    runs = []
    for seed, each in enumerate(seconds):
        runs += [
            result("baseline", seed, 100, 30, profile=0.0),
            result("freezeout", seed, each, 31, profile=profile),
        ]
    return runs


def missed_by(runs) -> list[str]:
    results = results_of(Path("x"), runs)
    return [row["method"].name for row in missed(results.table, results.summary)]


def test_predictions_stand_beside_what_was_measured():
    shown = predictions_table(results_of(Path("x"), pairs(76.5, profile=21.0)))
    assert shown.rows[0] == ("baseline", "1", "0", "0.0", "+0.0", "0.0", "0.0")
    assert shown.rows[1][1:] == ("1", "23.5", "21.0", "+2.5", "16.8", "14.7")


def test_what_was_not_predicted_is_missing():
    shown = predictions_table(results_of(Path("x"), pairs(77, profile=None)))
    assert shown.rows[1][1:] == ("1", "23.0", "–", "–", "–", "–")


@pytest.mark.parametrize(
    ("seconds", "is_missed"),
    [
        ((82.1,), True),  # 2.1 points; noise unknown
        ((77.9,), True),
        ((81.9,), False),
        ((83.0, 83.1, 83.2), True),  # 3.1 points, interval of 0.2
        ((81.5, 81.6, 81.7), False),  # 1.6 points, though the interval is narrow
        ((75.0, 83.0, 91.0), False),  # within the interval
    ],
)
def test_a_miss_is_of_more_than_2_points_and_more_than_the_noise(seconds, is_missed):
    assert missed_by(pairs(*seconds)) == ["freezeout"] * is_missed


@pytest.mark.parametrize(("repeats", "is_missed"), [((100, 100.1), True), ((100, 102), False)])
def test_of_a_single_pair_the_noise_is_that_of_repeats(repeats, is_missed):
    """Of two repeats; t(0.975, 1) = 12.7: 1.3 % of the time, or 29 %."""
    runs = pairs(83.0)
    runs[0] = result("baseline", 0, repeats[0], 30, profile=0.0)
    runs.append(result("baseline", 0, repeats[1], 30, repeat=1, profile=0.0))
    assert missed_by(runs) == ["freezeout"] * is_missed


def test_without_a_profile_nothing_is_missed():
    assert missed_by(pairs(50.0, profile=None)) == []


def test_untimed_runs_miss_nothing():
    runs = pairs(50.0)
    runs[1].record["timed"] = False
    assert missed_by(runs) == []


def test_the_report_warns_of_a_miss():
    (note,) = [each for each in warnings(results_of(Path("x"), pairs(70))) if "profile" in each]
    assert note.startswith(
        "the profile predicts 20.0 % of time saved for FreezeOut cubic, scaled rates, t0 = 0.8, "
        "measured are 30.0 % (n = 1)"
    )
