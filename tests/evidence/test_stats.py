"""Statistics against values worked out independently."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench.evidence.intervals import Interval, mean_interval, speedup, time_saved
from fobench.evidence.pairs import table
from fobench.evidence.summary import default_target, pareto, seconds_to_error, summary
from fobench.records.epochs import Epoch
from fobench.records.runs import RunResult
from tests.records.test_runs import ROW


def test_mean_interval_of_a_known_sample():
    """Mean 5, standard deviation 2.1602, n = 4; t(0.975, 3) = 3.18245 from a printed table."""
    interval = mean_interval([2.0, 5.0, 6.0, 7.0])
    assert interval.mean == 5
    assert interval.high == pytest.approx(5 + 3.18245 * 2.1602469 / 2, abs=1e-4)
    assert interval.low == pytest.approx(5 - 3.18245 * 2.1602469 / 2, abs=1e-4)
    assert interval.n == 4


def test_one_value_has_no_interval_and_none_no_mean():
    assert mean_interval([3.0]) == Interval(3.0, None, None, 1)
    nothing = mean_interval([])
    assert math.isnan(nothing.mean)
    assert nothing.n == 0


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([2.0, 2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 3)


def test_time_saved_is_that_of_the_geometric_mean():
    """Half the time and twice the time cancel."""
    saved = time_saved([math.log(0.5), math.log(2.0)])
    assert saved.mean == pytest.approx(0)
    assert saved.low < saved.mean < saved.high
    assert time_saved([math.log(0.8)] * 2).mean == pytest.approx(20)


def result(
    name: str,
    seed: int,
    seconds: float,
    error: float,
    repeat: int = 0,
    resumed: bool = False,
    share: float = 1.0,
    timed: bool = True,
    profile: float | None = None,
    **environment,
) -> RunResult:
    """A run of one epoch; `share` of the baseline, `profile` the predicted time saved."""
    method = {"name": "baseline", "epoch_share": share}
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
        "units": [{"name": "head", "freeze_step": None}],
        "total_steps": 94,
        "environment": machine | environment,
        "resumed": resumed,
    }  # fmt: skip
    if not timed:
        record["timed"] = False
    if profile is not None:
        record["predictions"] = {
            "flops_saved_percent": 0.8 * profile,
            "paper_saved_percent": 0.7 * profile,
            "profile": {"saved_percent": profile},
        }
    row = Epoch(**{**vars(ROW), "total_train_seconds": seconds, "test_error": error})
    name = name if share == 1 else f"{name}{share}"
    record["id"] = f"{name}-{seed}-{repeat}"
    return RunResult(record["id"], record, [row])


def test_runs_are_paired_with_the_baseline_of_their_seed():
    """Seed 1 is twice as slow for both methods: paired, the saving is 20 % and 30 %."""
    runs = [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31),
        result("baseline", 1, 200, 32), result("freezeout", 1, 140, 33),
    ]  # fmt: skip
    baseline, freezeout = summary(table(runs)).to_dict("records")
    assert baseline["saved"] == 0
    assert freezeout["saved"] == pytest.approx(100 * (1 - math.sqrt(0.8 * 0.7)))
    assert (freezeout["error"], freezeout["n"], freezeout["pairs"]) == (32, 2, 2)


def test_repeats_of_a_seed_are_averaged_and_add_no_sample():
    """Else two repeats, whose errors are equal, would halve the interval of the error."""
    once = [result("baseline", seed, 100, 30 + seed) for seed in (0, 1)]
    twice = once + [result("baseline", seed, 100, 30 + seed, repeat=1) for seed in (0, 1)]
    (one,), (two,) = (summary(table(runs)).to_dict("records") for runs in (once, twice))
    assert one["n"] == two["n"] == 2
    assert (one["error_low"], one["error_high"]) == (two["error_low"], two["error_high"])


@pytest.mark.parametrize(
    "other",
    [
        {"threads": 8},
        {"host": "g"},
        {"versions": {"torch": "3"}},
        {"cpu_quota": 1.0},
        {"cpus_allowed": 1},
        {"gpu_uuid": "b"},
        {"driver": "581"},
        {"precision": "bfloat16"},
        {"step": "graph"},
        {"images": "file"},
    ],
)
def test_times_of_two_machines_are_not_paired(other):
    runs = [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31),
        result("baseline", 1, 100, 30, **other), result("freezeout", 1, 10, 31),
    ]  # fmt: skip
    freezeout = summary(table(runs)).to_dict("records")[-1]
    assert freezeout["pairs"] == 1
    assert freezeout["saved"] == pytest.approx(20)
    assert freezeout["n"] == 2


def test_records_without_limits_of_cpus_had_none():
    """Those of earlier versions are paired with later ones, if these had no limit either."""
    runs = [
        result("baseline", 0, 100, 30),
        result("freezeout", 0, 80, 31, cpu_quota=None, cpus_allowed=2),
    ]
    assert summary(table(runs)).to_dict("records")[-1]["pairs"] == 1


def test_records_without_precision_and_step_mode_are_of_float32_and_eager_steps():
    """And of images on the device, when they lack the place of these."""
    runs = [
        result("baseline", 0, 100, 30),
        result("freezeout", 0, 80, 31, precision="float32", step="eager", images="device"),
    ]
    assert summary(table(runs)).to_dict("records")[1]["pairs"] == 1


def test_on_a_gpu_processor_seconds_are_not_compared():
    """The host waits for the device, and is busy while it does."""
    runs = [
        result(method, 0, seconds, 30, gpu="H100")
        for method, seconds in (("baseline", 100), ("freezeout", 80))
    ]
    frozen = table(runs).to_dict("records")[1]
    assert frozen["log_ratio"] == pytest.approx(math.log(0.8))
    assert math.isnan(frozen["cpu_log_ratio"])
    assert math.isnan(frozen["cpu_seconds"])


def test_a_run_that_was_resumed_under_another_quota_is_not_paired():
    runs = [result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31, resumed=True)]
    again = {"host": "h", "cpu_quota": None, "cpus_allowed": 2}
    for quota, pairs in ((None, 1), (1.0, 0)):
        runs[1].record["resumed_at"] = [again | {"cpu_quota": quota}]
        row = summary(table(runs, include_resumed=True)).to_dict("records")[-1]
        assert row["pairs"] == pairs


def test_a_run_without_its_baseline_has_no_saving():
    alone = summary(table([result("freezeout", 0, 80, 31)]))
    assert math.isnan(alone["saved"][0])
    assert alone["error"][0] == 31


def test_speedup_is_the_inverse_of_the_time_left():
    """0.8 and 0.5 of the time: the geometric mean is 0.6325, so 1.5811 times as fast."""
    logs = [math.log(0.8), math.log(0.5)]
    assert speedup(logs).mean == pytest.approx(1.5811388)
    saved, faster = time_saved(logs), speedup(logs)
    for end in ("low", "mean", "high"):
        assert getattr(faster, end) == pytest.approx(1 / (1 - getattr(saved, end) / 100))


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=9))
def test_an_interval_holds_its_mean(logs):
    for interval in (time_saved(logs), speedup(logs), mean_interval(logs)):
        assert interval.low <= interval.mean + 1e-9
        assert interval.mean <= interval.high + 1e-9


def test_changes_of_the_error_are_paired():
    """By hand: 31 - 30 and 34 - 32 points; 3.333 and 6.25 percent."""
    runs = [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31),
        result("baseline", 1, 200, 32), result("freezeout", 1, 140, 34),
    ]  # fmt: skip
    row = summary(table(runs)).to_dict("records")[1]
    assert row["points"] == pytest.approx(1.5)
    # Standard deviation 0.70711, n = 2; t(0.975, 1) = 12.7062.
    assert row["points_high"] == pytest.approx(1.5 + 12.7062 * 0.5, abs=1e-3)
    assert row["relative"] == pytest.approx((10 / 3 + 6.25) / 2)


def test_a_resumed_run_keeps_its_error_and_loses_its_time_unless_asked_for():
    runs = [
        result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31, resumed=True),
        result("baseline", 1, 100, 30, resumed=True), result("freezeout", 1, 60, 33),
        result("baseline", 2, 100, 30), result("freezeout", 2, 70, 32),
    ]  # fmt: skip
    row = summary(table(runs)).to_dict("records")[1]
    assert (row["n"], row["pairs"]) == (3, 1)
    assert row["saved"] == pytest.approx(30)
    assert row["points"] == pytest.approx(2)
    asked = summary(table(runs, include_resumed=True)).to_dict("records")[1]
    assert asked["pairs"] == 3


@pytest.mark.parametrize(
    ("costs", "errors", "front"),
    [
        ([1, 2, 3], [3, 2, 1], [True, True, True]),
        ([1, 2, 3], [1, 2, 3], [True, False, False]),
        ([1, 1, 1], [2, 1, 1], [False, True, True]),
        ([1, math.nan, 2], [2, 0, 1], [True, False, True]),
        ([], [], []),
    ],
)
def test_the_front_is_what_nothing_beats(costs, errors, front):
    assert pareto(costs, errors) == front


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_every_point_off_the_front_is_beaten_by_one_on_it(points):
    on_front = pareto([x for x, _ in points], [y for _, y in points])
    for point, is_on in zip(points, on_front, strict=True):
        front = [each for each, on in zip(points, on_front, strict=True) if on]
        beaten = any(x <= point[0] and y <= point[1] and (x, y) != point for x, y in front)
        assert beaten != is_on


def test_runs_recorded_before_an_option_was_there_are_of_one_variant():
    old, new = result("freezeout", 0, 80, 31), result("freezeout", 1, 80, 31)
    new.record["run"]["method"] |= {"match_time": False, "compat": "none"}
    new.record["run"]["train"] |= {"deterministic": False}
    (row,) = summary(table([old, new])).to_dict("records")
    assert row["n"] == 2
    assert row["method"].compat == "none"
    new.record["run"]["method"]["compat"] = "reference"
    assert len(summary(table([old, new]))) == 2


def test_times_of_runs_resumed_elsewhere_are_not_paired():
    runs = [result("baseline", 0, 100, 30), result("freezeout", 0, 80, 31, resumed=True)]
    runs[1].record["resumed_at"] = [{"epochs": 1, "host": "other"}]
    paired = table(runs, include_resumed=True)
    assert math.isnan(paired["log_ratio"][1])
    # Both moved: on which of the two hosts each spent its time is not known.
    runs[0].record["resumed_at"] = [{"epochs": 9, "host": "other"}]
    paired = table(runs, include_resumed=True)
    assert paired[["log_ratio", "error_points"]].isna().all(axis=None)
    assert len(set(paired["machine"])) == 2, "nor is any other figure of the two compared"
    for run in runs:
        run.record["resumed_at"] = [{"epochs": 1, "host": "h"}]
    assert table(runs, include_resumed=True)["log_ratio"][1] == pytest.approx(math.log(0.8))


def test_the_whole_baseline_saves_nothing_also_where_its_time_is_unknown():
    """Beside methods whose times are predicted; where none is known, it has none either."""
    runs = [
        result("baseline", 0, 100, 30, timed=False),
        result("freezeout", 0, 80, 31, timed=False, profile=-3.0),
    ]
    baseline, frozen = summary(table(runs)).to_dict("records")
    assert (baseline["saved"], baseline["speedup"], baseline["predicted"]) == (0, 1, False)
    assert (baseline["on_front"], frozen["on_front"]) == (True, False)
    del runs[1].record["predictions"]
    assert summary(table(runs))["saved"].isna().all()


def test_time_to_a_target_is_that_of_the_first_epoch_below_it_or_never():
    run = result("baseline", 0, 0, 30)
    rows = [
        replace(ROW, val_error=error, total_train_seconds=seconds)
        for error, seconds in ((60, 1), (40, 2), (45, 3), (39, 4))
    ]
    run = replace(run, epochs=rows)
    assert seconds_to_error(40, run) == 2
    assert seconds_to_error(39.5, run) == 4
    assert seconds_to_error(30, run) == math.inf
    whole = replace(run, id="baseline-0-0")
    worse = replace(result("baseline", 1, 0, 30), epochs=[replace(ROW, val_error=42)])
    assert default_target([whole, worse]) == 42
    assert default_target([result("freezeout", 0, 80, 31)]) is None
