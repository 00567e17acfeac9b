"""Whether freezing paid off, in one sentence: from intervals, by a setting not chosen by test."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fobench.evidence.intervals import Interval
from fobench.evidence.results import ExperimentResults, read_results, results_of
from fobench.records.epochs import write_epochs
from fobench.records.runs import read_run, write_record
from fobench.report.answer import (
    CHOSEN_BEFOREHAND,
    UNKNOWN,
    Numbers,
    answer,
    answers_table,
    chosen_setting,
    judge,
)

SAVED = Interval(20.0, 18.0, 22.0, 3)
POINTS = Interval(0.5, 0.1, 0.9, 3)


def sentence(fewer_steps: Interval, saved: Interval = SAVED, no_line="", **others: bool):
    return judge(Numbers(saved, POINTS, fewer_steps, **others), no_line)


def test_an_interval_wholly_below_the_line_is_a_success():
    assert sentence(Interval(-0.8, -1.2, -0.4, 3)) == (
        "paid off",
        "Freezing paid off here: its test error is 0.8 (0.4 to 1.2) points below that of the "
        "baseline trained for fewer steps in the same time (n = 3).",
    )


def test_an_interval_wholly_above_the_line_is_a_failure():
    assert sentence(Interval(1.5, 0.5, 2.5, 3)) == (
        "did not pay off",
        "Freezing did not pay off here: the baseline trained for fewer steps reached a lower error "
        "in the same time, by 1.5 (0.5 to 2.5) points (n = 3).",
    )


def test_an_interval_across_the_line_decides_nothing():
    kind, text = sentence(Interval(0.4, -0.2, 1.0, 3))
    assert kind == "undecided"
    assert text.startswith("Undecided at n = 3: the test error minus that of the baseline")
    # An interval that ends on the line is not wholly on one side of it.
    assert sentence(Interval(0.5, 0.0, 1.0, 3))[0] == "undecided"
    assert sentence(Interval(-0.5, -1.0, 0.0, 3))[0] == "undecided"


def test_a_single_seed_decides_nothing():
    kind, text = sentence(Interval(-5.0, None, None, 1))
    assert kind == "undecided"
    assert text.startswith("Undecided at n = 1: the test error minus that of the baseline")
    assert text.endswith("a single seed has no interval.")


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"no_line": "nothing shorter was trained"}, "not known", "nothing shorter was trained."),
        (
            {"beyond": True},
            "not known",
            "saved 20.0 % of the time, more than the shortest baseline",
        ),
        (
            {"beyond": True, "predicted": True},
            "not known",
            "freezing should save 20.0 % of the time",
        ),
        ({"saved": UNKNOWN}, "not known", "neither measured nor predicted"),
        ({}, "not known", "every seed lacks a share"),
        ({"saved": Interval(-9.0, -9.5, -8.5, 3)}, "did not pay off", "it saved no time"),
        ({"saved": Interval(-1.0, -3.0, 1.0, 3)}, "undecided", "-1.0 (-3.0 to 1.0) %"),
    ],
)
def test_without_a_distance_to_the_line_the_sentence_says_why(changes, kind, words):
    found, text = sentence(UNKNOWN, **changes)
    assert found == kind
    assert words in text


@pytest.mark.parametrize(
    ("saved", "predicted", "kind", "words"),
    [
        (Interval(-1.0, -3.0, 1.0, 3), False, "undecided", "Undecided at n = 3: the time saved"),
        (Interval(-8.0, None, None, 1), False, "undecided", "Undecided at n = 1: the time saved"),
        (Interval(-3.9, None, None, 0), True, "undecided", "Undecided: the time saved, -3.9 %"),
        (Interval(-4.1, None, None, 0), True, "did not pay off", "it saved no time"),
    ],
)
def test_a_lower_error_in_more_time_than_the_whole_baseline_is_no_success(
    saved, predicted, kind, words
):
    found, text = sentence(Interval(-1.0, -1.5, -0.5, 3), saved, predicted=predicted)
    assert found == kind
    assert words in text


@pytest.fixture
def results(tiny_results, tmp_path) -> ExperimentResults:
    """The tiny results; of their methods only t0 = 0.3 freezes anything."""
    copied = Path(shutil.copytree(tiny_results, tmp_path / "copied" / "tiny"))
    (panel,), _ = read_results([copied])
    return panel


def with_options(results: ExperimentResults, **errors: tuple[float, float]) -> ExperimentResults:
    """Both FreezeOut runs freeze: by t0, their validation and test error after the last epoch."""
    for run in results.runs:
        method = run.record["run"]["method"]
        if method["name"] != "freezeout":
            continue
        val_error, test_error = errors["early" if method["t0"] == 0.3 else "late"]
        folder = results.folder / run.id
        *rows, last = read_run(folder).epochs
        last = replace(last, frozen_units=3, val_error=val_error, test_error=test_error)
        record = {key: each for key, each in run.record.items() if key != "format"}
        write_record(folder, record | {"epochs_sha256": write_epochs(folder, [*rows, last])})
    (panel,), _ = read_results([results.folder])
    return panel


def test_the_only_method_that_freezes_is_the_setting(results):
    setting = chosen_setting(results)
    assert setting.label == "FreezeOut linear, scaled rates, t0 = 0.3"
    assert setting.why == "the only one that freezes"


def test_the_setting_has_the_lowest_validation_error_whatever_the_test_error(results):
    changed = with_options(results, early=(60.0, 10.0), late=(50.0, 90.0))
    setting = chosen_setting(changed)
    assert setting.label == "FreezeOut linear, scaled rates, t0 = 1"
    assert setting.why == "of 2 that freeze, the one of the lowest validation error in the end"


def test_without_validation_the_first_method_is_the_setting(results):
    changed = with_options(results, early=(None, 90.0), late=(None, 10.0))
    setting = chosen_setting(changed)
    assert setting.label == "FreezeOut linear, scaled rates, t0 = 0.3"
    assert "no validation error is known" in setting.why


def test_the_setting_of_the_paper_comes_first(results):
    changed = with_options(results, early=(50.0, 10.0), late=(60.0, 10.0))
    for run in changed.runs:
        method = run.record["run"]["method"]
        if method.get("t0") == 1.0:
            method |= {"t0": 0.8, "scaling": "cubic"}
            record = {key: each for key, each in run.record.items() if key != "format"}
            write_record(changed.folder / run.id, record)
    (panel,), _ = read_results([changed.folder])
    setting = chosen_setting(panel)
    assert setting.variant["method"].slug() == CHOSEN_BEFOREHAND
    assert setting.label == "FreezeOut cubic, scaled rates, t0 = 0.8"
    assert setting.why == "chosen beforehand, as the paper recommends it"


def test_the_answer_has_the_numbers_of_the_summary(results):
    found = answer(results)
    row = results.summary[[method.line().startswith("FreezeOut")
                           for method in results.summary["method"]]].iloc[0]  # fmt: skip
    assert found.experiment == "tiny"
    assert found.numbers.saved.mean == row["saved"]
    assert found.numbers.points.mean == row["points"]
    assert found.numbers.saved.n == found.numbers.points.n == 1
    assert found.numbers.saved.low is None
    assert answers_table([found]).rows[0][-1] == found.sentence


def test_where_nothing_freezes_nothing_is_known(results):
    kept = [run for run in results.runs if "baseline" in run.id]
    found = answer(results_of(results.folder, kept))
    assert found.setting is None
    assert (found.kind, found.sentence) == ("not known", "Not known: nothing freezes here.")
    assert math.isnan(found.numbers.saved.mean)
    assert answers_table([found]).rows[0][1] == "none"


def test_a_predicted_time_is_marked_as_such(results):
    found = answer(results)
    predicted = replace(found.numbers, saved=Interval(20.0, None, None, 0), predicted=True)
    shown = predicted.shown()[0]
    assert (shown.value, shown.ends, shown.count) == ("20.0", "", "predicted by a profile")
    assert shown.meaning == "of the baseline's time"
    row = answers_table([replace(found, numbers=predicted)]).rows[0]
    assert row[2:4] == ("20.0 (predicted)", "0")
