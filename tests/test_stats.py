"""Statistics against values worked out independently."""

import math

import pytest

from fobench import stats
from fobench.results import Epoch, RunResult
from tests.test_results import ROW


def test_mean_interval_of_a_known_sample():
    """Mean 5, standard deviation 2.1602, n = 4; t(0.975, 3) = 3.18245 from a printed table."""
    interval = stats.mean_interval([2.0, 5.0, 6.0, 7.0])
    assert interval.mean == 5
    assert interval.high == pytest.approx(5 + 3.18245 * 2.1602469 / 2, abs=1e-4)
    assert interval.low == pytest.approx(5 - 3.18245 * 2.1602469 / 2, abs=1e-4)
    assert interval.n == 4


def test_one_value_has_no_interval_and_none_no_mean():
    assert stats.mean_interval([3.0]) == stats.Interval(3.0, None, None, 1)
    nothing = stats.mean_interval([])
    assert math.isnan(nothing.mean)
    assert nothing.n == 0


def test_equal_values_have_an_interval_of_no_width():
    assert stats.mean_interval([2.0, 2.0, 2.0]) == stats.Interval(2.0, 2.0, 2.0, 3)


def test_time_saved_is_that_of_the_geometric_mean():
    """Half the time and twice the time cancel."""
    saved = stats.time_saved([math.log(0.5), math.log(2.0)])
    assert saved.mean == pytest.approx(0)
    assert saved.low < saved.mean < saved.high
    assert stats.time_saved([math.log(0.8)] * 2).mean == pytest.approx(20)


def result(
    name: str, seed: int, seconds: float, error: float, repeat: int = 0, **environment
) -> RunResult:
    method = {"name": "baseline", "epoch_share": 1.0}
    if name != "baseline":
        method = {"name": name, "scaling": "cubic", "scale_lr": True, "t0": 0.8, "epoch_share": 1.0}
    machine = {
        "host": "h", "device": "cpu", "gpu": None, "processor": "P", "cores": 2, "threads": 2,
        "versions": {"torch": "2"},
    }  # fmt: skip
    record = {
        "baseline": f"baseline-{seed}-{repeat}",
        "run": {
            "data": {"augment": "none"}, "data_used": {}, "model": {}, "train": {},
            "method": method, "seed": seed, "repeat": repeat,
        },
        "environment": machine | environment,
    }  # fmt: skip
    row = Epoch(**{**vars(ROW), "total_train_seconds": seconds, "test_error": error})
    return RunResult(f"{name}-{seed}-{repeat}", record, [row])


def test_runs_are_paired_with_the_baseline_of_their_seed():
    """Seed 1 is twice as slow for both methods: paired, the saving is 20 % and 30 %."""
    runs = [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31),
        result("baseline", 1, 200, 32), result("freezeout", 1, 140, 33),
    ]  # fmt: skip
    baseline, freezeout = stats.summary(stats.table(runs)).to_dict("records")
    assert baseline["saved"] == 0
    assert freezeout["saved"] == pytest.approx(100 * (1 - math.sqrt(0.8 * 0.7)))
    assert (freezeout["error"], freezeout["n"], freezeout["pairs"]) == (32, 2, 2)


def test_repeats_of_a_seed_are_averaged_and_add_no_sample():
    """Else two repeats, whose errors are equal, would halve the interval of the error."""
    once = [result("baseline", seed, 100, 30 + seed) for seed in (0, 1)]
    twice = once + [result("baseline", seed, 100, 30 + seed, repeat=1) for seed in (0, 1)]
    (one,), (two,) = (stats.summary(stats.table(runs)).to_dict("records") for runs in (once, twice))
    assert one["n"] == two["n"] == 2
    assert (one["error_low"], one["error_high"]) == (two["error_low"], two["error_high"])


@pytest.mark.parametrize("other", [{"threads": 8}, {"host": "g"}, {"versions": {"torch": "3"}}])
def test_times_of_two_machines_are_not_paired(other):
    runs = [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31),
        result("baseline", 1, 100, 30, **other), result("freezeout", 1, 10, 31),
    ]  # fmt: skip
    freezeout = stats.summary(stats.table(runs)).to_dict("records")[-1]
    assert freezeout["pairs"] == 1
    assert freezeout["saved"] == pytest.approx(20)
    assert freezeout["n"] == 2


def test_a_run_without_its_baseline_has_no_saving():
    summary = stats.summary(stats.table([result("freezeout", 0, 80, 31)]))
    assert math.isnan(summary["saved"][0])
    assert summary["error"][0] == 31
