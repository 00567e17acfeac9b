"""Epochs that are far too long, against cases worked out by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from docs.numbers.pages import ROOT
from fobench.evidence.epoch_times import LongEpoch, long_epochs
from fobench.evidence.results import read_results
from fobench.records.runs import RunResult
from tests.evidence.test_stats import result

STEPS = 10  # of an epoch
ALL_RESULTS = sorted(path.parent for path in ROOT.glob("results/*/experiment.json"))


def trained(
    run_id: str,
    seconds: list[float],
    freeze_steps: tuple[int, int] = (99, 99),
    cuts: tuple[int, ...] | None = None,
    built: list[float] | None = None,
    last_step: int | None = None,
    **environment,
) -> RunResult:
    """A run of three units, the last of which never freezes, with an epoch for each second."""
    run = result("baseline", 0, 1, 30, **environment)
    total = last_step or STEPS * len(seconds)
    units = [
        {"name": str(number), "freeze_step": step if step < total else None}
        for number, step in enumerate((*freeze_steps, total))
    ]
    rows = [
        replace(
            run.epochs[0],
            epoch=number,
            step=min(STEPS * number, total),
            train_seconds=each,
            cached_units=cuts[number - 1] if cuts else 0,
        )
        for number, each in enumerate(seconds, start=1)
    ]
    record = run.record | {"baseline": "baseline", "units": units, "total_steps": total}
    if built:
        record["store"] = {"build_seconds": built, "read_seconds": [0.0] * len(built)}
    return RunResult(run_id, record, rows)


def test_one_run_is_enough_where_its_epochs_are_equal_work():
    """The median of 2, 2, 10 and 2 s is 2 s."""
    assert long_epochs([trained("baseline", [2.0, 2.0, 10.0, 2.0])]) == [
        LongEpoch("baseline", 3, 10.0, 2.0)
    ]


def test_epochs_of_equal_work_of_other_runs_count():
    """Both freeze a unit in step 12: epochs 2 and 3 of the two seeds are equal work."""
    runs = [
        trained("one", [4.0, 3.0, 2.0], freeze_steps=(12, 99)),
        trained("two", [4.0, 3.0, 9.0], freeze_steps=(12, 99)),
    ]
    assert long_epochs(runs) == [LongEpoch("two", 3, 9.0, 2.0)]


def test_epochs_in_which_a_unit_freezes_at_another_step_are_other_work():
    """Twice as long as one another without a fault: units 1 and 2 freeze at the epoch's start."""
    runs = [trained("one", [4.0, 2.0], (10, 10)), trained("two", [4.0, 3.9], (19, 99))]
    assert long_epochs(runs) == []


def test_an_epoch_like_no_other_takes_no_longer_than_one_of_more_work():
    """A unit freezes in epochs 2 and 3 each: the shortest epoch before epoch 3 takes 3 s."""
    frozen = trained("freezeout", [4.0, 3.0, 8.0], freeze_steps=(12, 25))
    assert long_epochs([frozen]) == [LongEpoch("freezeout", 3, 8.0, 3.0)]


def test_the_baseline_bounds_a_first_epoch_like_no_other():
    """A unit freezes in the first epoch, so that only the baseline did more work."""
    frozen = trained("freezeout", [9.0, 3.0], freeze_steps=(5, 99))
    assert long_epochs([frozen]) == []
    runs = [trained("baseline", [4.0, 4.2]), frozen]
    assert long_epochs(runs) == [LongEpoch("freezeout", 1, 9.0, 4.0)]


def test_a_short_last_epoch_says_nothing_of_whole_ones():
    """The last of 22 steps takes 0.4 s, the whole ones before it 2 s."""
    frozen = trained("freezeout", [2.0, 2.0, 0.4], last_step=22)
    other = trained("other", [2.1, 2.0, 1.9], freeze_steps=(21, 99))
    assert long_epochs([frozen, other]) == []


def test_building_a_store_is_more_work():
    """Epoch 2 builds for 5 s from the images, epoch 3 for 1 s from the store of epoch 2."""
    epochs = {"freeze_steps": (10, 10), "cuts": (0, 1, 2, 2), "built": [0.0, 5.0, 1.0, 0.0]}
    assert long_epochs([trained("stored", [4.0, 7.0, 2.0, 0.9], **epochs)]) == []
    assert long_epochs([trained("stored", [4.0, 7.0, 2.0, 4.0], **epochs)]) == [
        # Epoch 3 took 1 s besides building.
        LongEpoch("stored", 4, 4.0, 1.0)
    ]


def test_a_build_that_took_too_long_is_found_beside_that_of_another_seed():
    epochs = {"freeze_steps": (10, 10), "cuts": (0, 1, 1)}
    runs = [
        trained("one", [4.0, 3.0, 1.0], built=[0.0, 2.0, 0.0], **epochs),
        trained("two", [4.0, 9.0, 1.0], built=[0.0, 8.0, 0.0], **epochs),
    ]
    assert long_epochs(runs) == [LongEpoch("two", 2, 9.0, 3.0)]


def test_other_machines_say_nothing():
    runs = [trained("one", [2.0]), trained("two", [9.0], host="slow")]
    assert long_epochs(runs) == []


@pytest.mark.parametrize(
    ("seconds", "named"),
    [
        ([2.0, 2.0, 2.9], False),  # less than half more
        ([2.0, 2.0, 3.1], True),
        ([0.01, 0.01, 0.4], False),  # half a second or less: of any machine
        ([0.01, 0.01, 0.6], True),
    ],
)
def test_small_differences_are_noise(seconds, named):
    assert bool(long_epochs([trained("baseline", seconds)])) == named


@pytest.mark.parametrize("folder", ALL_RESULTS, ids=lambda folder: folder.name)
def test_no_epoch_of_the_committed_results_is_too_long(folder: Path):
    (panel,), _ = read_results([folder])
    assert long_epochs([run for run in panel.runs if run.record.get("timed", True)]) == []
