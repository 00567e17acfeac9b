"""Runs trained beside others: their errors count, their seconds never do."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fobench.evidence import clock_noise
from fobench.evidence.epoch_times import long_epochs
from fobench.evidence.pairs import table
from fobench.evidence.results import results_of, unpaired_notes
from fobench.evidence.summary import summary
from fobench.records.runs import RunResult
from fobench.report.noise import noise_notes
from fobench.report.tables import (
    AGAINST_FEWER_STEPS,
    control_table,
    methods_table,
    predictions_table,
    stores_table,
)
from fobench.report.warnings import warnings
from tests.evidence.test_line_to_beat import predicted_seed, seed_of
from tests.evidence.test_stats import result
from tests.evidence.test_store_savings import trained

UNTIMED = {"timed": False}


def mixed() -> list[RunResult]:
    """Two timed seeds and a third, untimed one, whose seconds are absurd."""
    return [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31),
        result("baseline", 1, 100, 32), result("freezeout", 1, 80, 34),
        result("baseline", 2, 9e9, 31, **UNTIMED), result("freezeout", 2, 1e-9, 37, **UNTIMED),
    ]  # fmt: skip


def test_untimed_runs_count_with_their_errors_alone():
    runs = table(mixed())
    baseline, frozen = summary(runs).to_dict("records")
    for row in (baseline, frozen):
        assert (row["n"], row["error_pairs"], row["pairs"]) == (3, 3, 2)
    assert frozen["saved"] == pytest.approx(20)
    assert frozen["cpu_saved"] == pytest.approx(0), "each was recorded with equal processor seconds"
    assert frozen["points"] == pytest.approx((1 + 2 + 6) / 3)
    assert frozen["error"] == pytest.approx(34)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_pair_needs_two_timed_runs(lost):
    runs = [result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31)]
    runs[lost].record["timed"] = False
    frozen = table(runs).to_dict("records")[1]
    assert math.isnan(frozen["log_ratio"])
    assert math.isnan(frozen["cpu_log_ratio"])
    assert frozen["error_points"] == 1


def test_to_include_resumed_runs_does_not_include_untimed_ones():
    runs = [result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31, resumed=True, **UNTIMED)]
    assert summary(table(runs, include_resumed=True))["pairs"].tolist() == [1, 0]


def test_untimed_runs_are_of_the_noise_of_nothing():
    runs = [result("baseline", seed, 100, 30) for seed in range(3)]
    wild = [result("baseline", seed, 10.0**seed, 30, **UNTIMED) for seed in range(3, 6)]
    paired = table(runs + wild)
    assert clock_noise.noise_of_seeds(paired).percent == 0
    assert clock_noise.noise_of_pairs(table(mixed())).percent == pytest.approx(0)
    assert clock_noise.outliers(paired) == []
    repeats = [result("baseline", 3, 5, 30, repeat=each, **UNTIMED) for each in (0, 1)]
    assert clock_noise.noise_of_repeats(table(repeats)) is None


def test_without_a_timed_run_the_noise_is_unknown():
    runs = [result("baseline", seed, 9.0**seed, 30, **UNTIMED) for seed in range(3)]
    (note,) = noise_notes(results_of(Path("untimed"), runs))
    assert "no run's time counts" in note


def test_untimed_epochs_are_not_too_long():
    slow = trained("baseline", [2.0, 2.0, 90.0], 30)
    slow.record.update(timed=False, total_steps=282)
    slow = replace(slow, epochs=[replace(row, step=94 * row.epoch) for row in slow.epochs])
    results = results_of(Path("untimed"), [slow])
    assert long_epochs([slow]), "it would be, if it were timed"
    assert long_epochs(results.timed(results.runs)) == []


def test_untimed_runs_are_not_said_to_have_waited():
    """Processor seconds per second are 2.9/100, of the untimed run 2.9/1000."""
    runs = [result("baseline", seed, 100, 30) for seed in range(2)]
    beside = result("baseline", 2, 1000, 30)
    assert any("other work" in each for each in warnings(results_of(Path("x"), [*runs, beside])))
    beside.record["timed"] = False
    found = warnings(results_of(Path("x"), [*runs, beside]))
    assert not any("other work" in each for each in found)
    assert any("runs trained beside others, 1 of 3:" in each for each in found)


def test_a_prediction_takes_the_place_of_a_time_that_was_not_measured():
    """30.1 % saved is 1/0.699 = 1.43 times as fast."""
    runs = [
        result("baseline", 0, 9, 30, profile=0.0, **UNTIMED),
        result("freezeout", 0, 99, 31, profile=30.0, **UNTIMED),
        result("freezeout", 1, 99, 33, profile=30.2, **UNTIMED),
    ]
    _, row = summary(table(runs)).to_dict("records")
    assert (row["n"], row["pairs"], row["predicted"]) == (2, 0, True)
    assert row["saved"] == pytest.approx(30.1)
    assert row["speedup"] == pytest.approx(1 / 0.699)
    assert row["saved_low"] is row["speedup_high"] is None
    assert row["profile_saved"] == pytest.approx(30.1)
    assert row["flops_saved"] == pytest.approx(0.8 * 30.1)
    assert row["paper_saved"] == pytest.approx(0.7 * 30.1)
    shown = methods_table(summary(table(runs)))
    names = ("n (errors)", "n (times)", "time saved, %", "speedup, ×", "CPU time saved, %")
    assert shown.columns(names)[1] == ["2", "0", "30.1 predicted", "1.43 predicted", "–"]


@pytest.mark.parametrize(
    ("runs", "note"),
    [
        (seed_of(0, 90, 33) + seed_of(1, 90, 33), ""),
        (seed_of(0, 90, 33) + predicted_seed(1, 0), ", time predicted in 1 of 2"),
        (predicted_seed(0, 0) + predicted_seed(1, 4), ", time predicted"),
    ],
)
def test_a_distance_says_in_how_many_seeds_its_time_is_predicted(runs, note):
    shown = methods_table(summary(table(runs))).columns((AGAINST_FEWER_STEPS,))
    distances = [cell for (cell,) in shown]
    assert distances[:-1] == ["–"] * 3, "the baselines"
    assert distances[-1].endswith(")" + note)


def test_what_is_measured_goes_before_what_is_predicted():
    runs = mixed()
    runs[-1].record["predictions"] = {"profile": {"saved_percent": 70.0}}
    _, row = summary(table(runs)).to_dict("records")
    assert row["saved"] == pytest.approx(20)
    assert (row["profile_saved"], row["predicted"]) == (70, False)


def test_a_prediction_stands_beside_the_measured_times_of_its_own_seeds():
    """Seed 2, untimed, was predicted for another machine."""
    runs = mixed()
    for run, predicted in zip(runs[1::2], (19.0, 21.0, 70.0), strict=True):
        run.record["predictions"] = {"profile": {"saved_percent": predicted}}
    _, row = summary(table(runs)).to_dict("records")
    assert row["profile_saved"] == pytest.approx(20)


def test_repeats_weigh_no_more_in_a_prediction_than_other_seeds():
    runs = [
        result("freezeout", seed, 9, 30, profile=predicted, repeat=repeat, **UNTIMED)
        for seed, repeat, predicted in ((0, 0, 10.0), (0, 1, 10.0), (1, 0, 40.0))
    ]
    (row,) = summary(table(runs)).to_dict("records")
    assert row["saved"] == pytest.approx(25)


@pytest.mark.parametrize("predictions", [{}, {"profile": None}, None], ids=str)
def test_without_a_profile_nothing_is_predicted(predictions):
    run = result("freezeout", 0, 80, 31, **UNTIMED)
    run.record["predictions"] = predictions
    (row,) = summary(table([run])).to_dict("records")
    assert math.isnan(row["saved"])
    assert math.isnan(row["profile_saved"])
    assert not row["predicted"]


def test_against_a_control_nothing_is_predicted():
    """The prediction is of the time against the baseline."""
    runs = [result("baseline", 0, 9, 30), result("freezeout", 0, 9, 31, profile=30.0, **UNTIMED)]
    runs[1].record["control"] = "baseline-0-0"
    results = results_of(Path("x"), runs)
    shown = control_table(results)
    assert shown.columns(("time saved, %", "n (errors)", "n (times)")) == [["–", "1", "0"]]
    assert "against fewer steps, points" not in shown.header


def test_notes_say_which_times_are_missing_and_what_to_do():
    runs = [
        result("baseline", 0, 9, 30, **UNTIMED),
        result("freezeout", 0, 9, 31, profile=30.0),
        result("baseline", 0, 9, 33, share=0.5, **UNTIMED),
    ]
    unknown, predicted = unpaired_notes(results_of(Path("x"), runs))
    assert "no times of FreezeOut cubic, scaled rates, t0 = 0.8: these runs or" in predicted
    assert "predicted from the profile" in predicted
    assert "no times of baseline; baseline, 50% of the steps: these runs or" in unknown
    assert "unknown, as no profile was measured" in unknown
    (all_of_them,) = unpaired_notes(results_of(Path("x"), [runs[0]]))
    assert "no times of any method: these runs or" in all_of_them
    for note in (unknown, predicted):
        assert "trained beside others" in note
        assert "`fobench run` --force --only" in note


def test_other_reasons_are_told_from_it():
    runs = [
        result("baseline", 0, 9, 30, resumed=True), result("freezeout", 0, 9, 31),
        result("baseline", 0, 9, 31, share=0.5, threads=1),
    ]  # fmt: skip
    notes = list(unpaired_notes(results_of(Path("x"), runs)))
    assert "the time of baseline-0-0 is left out, as it was resumed" in notes[0]
    assert "FreezeOut cubic, scaled rates, t0 = 0.8: of each pair, one run was resumed" in notes[2]
    assert "50% of the steps: its baseline is missing or ran on another machine" in notes[3]
    assert not any("beside others" in note for note in notes)


def test_a_seed_whose_runs_were_split_over_machines_is_named():
    runs = [*mixed()[:4], result("baseline", 2, 100, 31), result("freezeout", 2, 80, 37)]
    runs[-1].record["environment"] |= {"host": "another"}
    (note,) = unpaired_notes(results_of(Path("x"), runs))
    assert note.startswith("seed 2: runs that are not paired with their baseline, as it ran on")
    assert note.endswith(": 1")


def test_no_note_where_all_is_measured():
    assert list(unpaired_notes(results_of(Path("x"), mixed()))) == []


def test_tables_of_measured_times_leave_out_what_has_none():
    runs = [result("baseline", 0, 9, 30, profile=0.0, **UNTIMED)]
    results = results_of(Path("x"), runs)
    assert predictions_table(results) is None
    assert stores_table(results) is None
