"""The distance to the line to beat, against values worked out by hand."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench.evidence.line_to_beat import error_on_line, line_notes, next_below, share_beyond
from fobench.evidence.pairs import table
from fobench.evidence.summary import summary
from fobench.records.runs import RunResult
from tests.evidence.test_stats import result

LINE = [(0.0, 30.0), (20.0, 34.0), (50.0, 49.0)]


@pytest.mark.parametrize(
    ("saved", "error"),
    [
        (0.0, 30.0),  # the points themselves
        (20.0, 34.0),
        (50.0, 49.0),
        (10.0, 32.0),  # between them
        (30.0, 39.0),
        (-5.0, 30.0),  # the whole baseline, which had less time
    ],
)
def test_the_line_is_linear_between_its_points(saved, error):
    assert error_on_line(saved, LINE) == pytest.approx(error)
    assert error_on_line(saved, LINE[::-1]) == pytest.approx(error), "in any order"


@pytest.mark.parametrize("saved", [50.001, 99.0, math.nan])
def test_nothing_is_extrapolated(saved):
    assert math.isnan(error_on_line(saved, LINE))


def test_without_the_whole_baseline_the_line_begins_with_its_longest_share():
    assert math.isnan(error_on_line(10.0, LINE[1:]))
    assert math.isnan(error_on_line(10.0, []))


def test_a_share_that_took_longer_than_the_whole_baseline_is_not_its_place():
    """At no time saved, the whole baseline counts, not the share that lost a percent."""
    assert error_on_line(-1.0, [(-1.0, 50.0), *LINE]) == 30


@given(st.floats(0, 50), st.permutations(LINE))
def test_an_error_of_the_line_lies_between_those_of_its_ends(saved, line):
    assert 30 <= error_on_line(saved, line) <= 49


def seed_of(
    seed: int, seconds: float, error: float, shift: float = 0.0, **options
) -> list[RunResult]:
    """LINE in a seed whose errors are higher by `shift`, and a method."""
    return [
        result("baseline", seed, 100, 30 + shift),
        result("baseline", seed, 80, 34 + shift, share=0.8),
        result("baseline", seed, 50, 49 + shift, share=0.5),
        result("freezeout", seed, seconds, error, **options),
    ]


def summarised(runs: list[RunResult]) -> tuple[pd.DataFrame, dict]:
    """A summary, and its row of the method."""
    found = summary(table(runs))
    return found, found[[method.name == "freezeout" for method in found["method"]]].iloc[0]


def test_each_seed_is_compared_with_its_own_line_at_its_own_time():
    """Seed 0 saves 10 %: 33 − 32. Seed 1 saves 30 %: 41 − (39 + 5)."""
    found, row = summarised(seed_of(0, 90, 33) + seed_of(1, 70, 41, shift=5))
    assert row["fewer_steps"] == pytest.approx((1 - 3) / 2)
    assert (row["fewer_steps_n"], row["fewer_steps_beyond"]) == (2, False)
    # Standard deviation 2√2, n = 2; t(0.975, 1) = 12.7062.
    assert row["fewer_steps_high"] == pytest.approx(-1 + 12.7062 * 2, abs=1e-3)
    assert row["fewer_steps_low"] == pytest.approx(-1 - 12.7062 * 2, abs=1e-3)
    baselines = found[[method.is_baseline for method in found["method"]]]
    assert baselines["fewer_steps"].isna().all(), "no distance to themselves"
    assert not baselines["fewer_steps_beyond"].any()


def test_one_seed_has_a_distance_without_an_interval():
    _, row = summarised(seed_of(0, 90, 33))
    assert row["fewer_steps"] == pytest.approx(1)
    assert row["fewer_steps_low"] is None
    assert row["fewer_steps_n"] == 1


def test_a_method_that_loses_time_is_compared_with_the_whole_baseline():
    assert summarised(seed_of(0, 110, 29))[1]["fewer_steps"] == pytest.approx(-1)


def test_shares_are_joined_in_the_order_of_their_times():
    """Here the share of 50 % took longer than that of 80 %: 25 % lie between 20 and 50 %."""
    runs = seed_of(0, 75, 40)
    runs[1] = result("baseline", 0, 50, 49, share=0.8)
    runs[2] = result("baseline", 0, 80, 34, share=0.5)
    assert summarised(runs)[1]["fewer_steps"] == pytest.approx(40 - 36.5)


def test_beyond_the_line_there_is_no_distance_but_a_share_to_add():
    """Share 0.5 saves 50 %; for 60 %, share 0.4 is needed."""
    found, row = summarised(seed_of(0, 40, 55) + seed_of(1, 40, 55))
    assert math.isnan(row["fewer_steps"])
    assert (row["fewer_steps_n"], row["fewer_steps_beyond"]) == (0, True)
    (note,) = line_notes(found)
    assert "the line to beat ends at 50.0 % of time saved (baseline, 50% of the steps)" in note
    assert "FreezeOut cubic, scaled rates, t0 = 0.8" in note
    assert "epoch_share = 0.4" in note


def test_the_end_of_the_line_belongs_to_it():
    found, row = summarised(seed_of(0, 50, 48))
    assert row["fewer_steps"] == pytest.approx(-1)
    assert list(line_notes(found)) == []


def test_a_seed_beyond_its_own_line_does_not_count():
    """By the means, 44.3 % are saved. Seed 1 saves 55 %; seed 0 saves 31 %: 40 − 39.5."""
    found, row = summarised(seed_of(0, 69, 40) + seed_of(1, 45, 20))
    assert row["fewer_steps"] == pytest.approx(0.5)
    assert (row["fewer_steps_n"], row["fewer_steps_beyond"]) == (1, False)
    (note,) = line_notes(found)
    assert "1 of 2 seeds count for FreezeOut" in note


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_seed_that_lacks_a_share_or_the_method_does_not_count(lost):
    """Without the share of 80 %, its line would be another one than that of the others."""
    second = seed_of(1, 90, 99)
    del second[lost]
    _, row = summarised(seed_of(0, 90, 33) + second)
    assert row["fewer_steps"] == pytest.approx(1)
    assert row["fewer_steps_n"] == 1


def test_errors_of_two_machines_are_not_compared():
    elsewhere = seed_of(1, 90, 99)
    elsewhere[1] = result("baseline", 1, 80, 34, share=0.8, threads=1)
    _, row = summarised(seed_of(0, 90, 33) + elsewhere)
    assert (row["fewer_steps"], row["fewer_steps_n"]) == (pytest.approx(1), 1)


def test_repeats_are_no_further_samples():
    """Seed 0: the mean of 80 and 98.47 s by logs, 11.24 % saved, and of the errors 33 and 35."""
    runs = seed_of(0, 80, 33)
    runs += [
        result("baseline", 0, 100, 30, repeat=1),
        result("freezeout", 0, 98.47, 35, repeat=1),
    ]
    _, row = summarised(runs)
    saved = 100 * (1 - math.sqrt(0.8 * 0.9847))
    assert row["fewer_steps"] == pytest.approx(34 - (30 + saved / 5))
    assert row["fewer_steps_n"] == 1


def test_untimed_seeds_are_compared_at_the_time_that_the_others_saved():
    """Seed 0 saves 10 %, where the line of seed 1, without times of its own, is at 32 + 3."""
    untimed = [
        result("baseline", 1, 9, 33, timed=False),
        result("baseline", 1, 8, 37, share=0.8, timed=False),
        result("baseline", 1, 7, 52, share=0.5, timed=False),
        result("freezeout", 1, 1, 38, timed=False),
    ]
    _, row = summarised(seed_of(0, 90, 33) + untimed)
    assert row["fewer_steps"] == pytest.approx((1 + 3) / 2)
    assert (row["fewer_steps_n"], row["pairs"], row["n"]) == (2, 1, 2)


def predicted_seed(seed: int, shift: float) -> list[RunResult]:
    options = {"timed": False}
    return [
        result("baseline", seed, 1, 30 + shift, profile=0.0, **options),
        result("baseline", seed, 1, 34 + shift, share=0.8, profile=20.0, **options),
        result("baseline", seed, 1, 49 + shift, share=0.5, profile=50.0, **options),
        result("freezeout", seed, 1, 38 + shift, profile=30.0, **options),
    ]


def test_predicted_times_give_a_distance_too():
    """At 30 % the line is at 39."""
    found, row = summarised(predicted_seed(0, 0) + predicted_seed(1, 4))
    assert found["predicted"].all()
    assert row["fewer_steps"] == pytest.approx(-1)
    # The line rises by half a point per percent, and a predicted time may be off by four.
    assert row["fewer_steps_low"] == pytest.approx(-3)
    assert row["fewer_steps_high"] == pytest.approx(1)
    assert row["fewer_steps_n"] == 2


def test_each_seed_without_times_is_compared_at_its_own_predicted_time():
    """They may be of two machines: at 30 % the line is at 39, at 40 % at 44."""
    runs = predicted_seed(0, 0) + predicted_seed(1, 0)
    runs[-1].record["predictions"]["profile"]["saved_percent"] = 40.0
    _, row = summarised(runs)
    assert row["fewer_steps"] == pytest.approx(((38 - 39) + (38 - 44)) / 2)


def test_seeds_without_times_are_compared_at_the_predicted_time():
    """Not at that of the other seeds, of which there may be one; each counts for its share."""
    found, row = summarised(seed_of(0, 90, 33) + predicted_seed(1, 0))
    assert found["saved"].tolist() == pytest.approx([0, 20, 50, 10])
    # At a measured 10 % the line is at 32, at a predicted 30 % at 39.
    assert row["fewer_steps"] == pytest.approx(((33 - 32) + (38 - 39)) / 2)
    # Student's t for two seeds at +1 and -1; half of what four points off would change.
    assert row["fewer_steps_high"] == pytest.approx(12.706 + 1, abs=1e-3)
    assert row["fewer_steps_low"] == pytest.approx(-12.706 - 1, abs=1e-3)
    assert row["fewer_steps_slack"] == pytest.approx((1, 1))
    assert (row["fewer_steps_predicted"], row["fewer_steps_n"]) == (1, 2)


def test_the_whole_baseline_saves_nothing_whether_it_is_predicted_or_not():
    """Its records have no profile, those of the others have."""
    runs = predicted_seed(0, 0)
    del runs[0].record["predictions"]
    assert summarised(runs)[1]["fewer_steps"] == pytest.approx(-1)


def test_without_times_there_is_no_distance():
    runs = predicted_seed(0, 0)
    for run in runs:
        del run.record["predictions"]
    found, row = summarised(runs)
    assert math.isnan(row["fewer_steps"])
    assert not row["fewer_steps_beyond"]
    assert list(line_notes(found)) == []


def test_a_share_of_unknown_time_is_to_be_timed_not_trained_again():
    """The share of 0.5 is untimed and has no prediction; it is the one that would reach 40 %."""
    runs = seed_of(0, 60, 40)
    runs[2].record["timed"] = False
    found, row = summarised(runs)
    assert row["fewer_steps_beyond"]
    (note,) = line_notes(found)
    assert "ends at 20.0 % of time saved" in note
    assert "time baseline, 50% of the steps, or measure a profile" in note
    assert "add" not in note
    runs[1].record["timed"] = False
    (note,) = line_notes(summarised(runs)[0])
    assert note.startswith("there is no line to beat: time baseline, 50% of the steps")


def test_a_longer_share_of_unknown_time_would_not_extend_the_line():
    runs = seed_of(0, 40, 55)
    runs[1].record["timed"] = False
    (note,) = line_notes(summarised(runs)[0])
    assert "add a baseline with epoch_share = 0.4" in note


def test_of_several_shares_of_unknown_time_the_one_that_should_reach_is_to_be_timed():
    """The method saves 62 %; the share of 0.4 would not reach, that of 0.35 would."""
    runs = seed_of(0, 38, 60)
    runs += [result("baseline", 0, 100 * each, 50, share=each) for each in (0.4, 0.35, 0.3)]
    for run in runs[-3:]:
        run.record["timed"] = False
    (note,) = line_notes(summarised(runs)[0])
    assert "time baseline, 35% of the steps, or" in note
    (note,) = line_notes(summarised(runs[:-2])[0])
    assert "time baseline, 40% of the steps, or" in note, "it reaches farthest"


def test_no_share_is_proposed_that_was_trained():
    """The share of 0.4 took longer than that of 0.5, at which the line ends."""
    runs = [*seed_of(0, 40, 55), result("baseline", 0, 55, 50, share=0.4)]
    (note,) = line_notes(summarised(runs)[0])
    assert "ends at 50.0 %" in note
    assert "add a baseline with epoch_share = 0.35" in note
    assert next_below(0.05, {1.0, 0.05}) == 0.025


def test_without_shares_there_is_no_line_and_a_note_says_so():
    runs = seed_of(0, 62, 40)
    found, row = summarised([runs[0], runs[3]])
    assert math.isnan(row["fewer_steps"])
    assert not row["fewer_steps_beyond"]
    (note,) = line_notes(found)
    assert "no line to beat" in note
    assert "epoch_share = 0.6" in note


@pytest.mark.parametrize(
    ("saved", "shortest", "end", "share"),
    [
        (60.0, 0.5, 50.0, 0.4),
        (60.1, 0.5, 50.0, 0.35),
        (57.8, 0.55, 46.3, 0.4),
        # The share of 0.4 saved 56 %, less than its steps: so does the next one.
        (59.0, 0.4, 56.0, 0.35),
        (99.0, 0.5, 50.0, 0.05),
    ],
)
def test_the_share_to_add_lies_beyond_what_the_method_saves(saved, shortest, end, share):
    assert share_beyond(saved, shortest, end) == share
