"""What stores saved, against values worked out by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from fobench.evidence import store_savings
from fobench.evidence.results import ExperimentResults, results_of
from fobench.records.runs import RunResult
from fobench.report.tables import stores_table
from fobench.report.warnings import warnings
from tests.evidence.test_stats import result


def trained(name: str, seconds: list[float], error: float, **record) -> RunResult:
    """A run with an epoch for each of the seconds."""
    run = result("freezeout" if record else "baseline", 0, sum(seconds), error)
    (row,) = run.epochs
    epochs = [
        replace(row, epoch=number, train_seconds=each, total_train_seconds=sum(seconds[:number]))
        for number, each in enumerate(seconds, start=1)
    ]
    return RunResult(name, run.record | {"baseline": "baseline"} | record, epochs)


def of_freezeout(run: RunResult, **options) -> RunResult:
    run.record["run"]["method"].update(options)
    return run


@pytest.fixture
def results() -> ExperimentResults:
    """The store is built before epoch 2; it saves 6 + 14 of 100 seconds, and predicted 25."""
    runs = [
        trained("baseline", [40.0, 30.0, 30.0], 40.0),
        of_freezeout(trained("without", [30.0, 20.0, 20.0], 42.0, uncached=None), views=2),
        of_freezeout(
            trained(
                "stored",
                [36.0, 14.0, 6.0],
                42.5,
                uncached="without",
                store_plan={
                    "builds": [{"epoch": 2, "cut": 3, "bytes": 8}],
                    "predicted": {"seconds_saved": 25.0},
                },
                store={
                    "build_seconds": [0.0, 4.0, 0.0],
                    "read_seconds": [0.0, 1.0, 2.0],
                    "notes": ["no room"],
                },
            ),
            views=2,
            precompute=True,
        ),
    ]
    return results_of(Path("stored"), runs)


def test_a_store_is_judged_by_the_epochs_in_which_the_work_differs(results):
    """The first epoch, 30 and 36 seconds of equal work, differs by the machine only."""
    (row,) = store_savings.summary(results).to_dict("records")
    assert (row["n"], row["timed"]) == (1, 1)
    assert row["saved"] == pytest.approx(44)
    assert row["saved_without"] == pytest.approx(30)
    assert row["by_store"] == pytest.approx(20)
    assert row["predicted"] == pytest.approx(25)
    assert row["traffic"] == pytest.approx(100 * 7 / 56)
    assert row["points"] == pytest.approx(0.5)
    assert row["by_store_low"] is None, "one seed has no interval"


def test_the_report_shows_stores_and_what_became_of_them(results):
    assert (
        "| 1 | 1 | 44.0 | 30.0 | 20.0 | 25.0 | 12.5 | +0.50 |" in stores_table(results).markdown()
    )
    assert "no room: stored" in warnings(results)


@pytest.mark.parametrize("change", [{"resumed": True}, {"timed": False}], ids=str)
def test_of_a_run_whose_time_does_not_count_the_error_alone_does(results, change):
    results.runs[2].record.update(change)
    resumed = results_of(Path("stored"), results.runs)
    (row,) = store_savings.summary(resumed).to_dict("records")
    assert (row["n"], row["timed"], row["points"]) == (1, 0, pytest.approx(0.5))
    assert "| 1 | 0 | – | – | – | – | – | +0.50 |" in stores_table(resumed).markdown()


@pytest.mark.parametrize("lost", ["baseline", "without"])
def test_without_its_counterparts_nothing_is_reported(results, lost):
    runs = [run for run in results.runs if run.id != lost]
    alone = results_of(Path("stored"), runs)
    (row,) = store_savings.summary(alone).to_dict("records")
    assert row["n"] == 0
    assert "| 0 | 0 | – | – | – | – | – | – |" in stores_table(alone).markdown()


def test_a_store_that_nothing_was_built_for_saved_nothing(results):
    results.runs[2].record["store_plan"]["builds"] = []
    (row,) = store_savings.summary(results).to_dict("records")
    assert row["by_store"] == 0


def test_experiments_without_stores_have_no_such_table(results):
    runs = results.runs[:2]
    without = results_of(Path("plain"), runs)
    assert store_savings.summary(without).empty
    assert store_savings.seconds_by_epoch(runs[0]) == [0.0, 0.0, 0.0]
    assert stores_table(without) is None
