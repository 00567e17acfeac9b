"""The scripts that measure on a GPU: what they compute, and how they time steps."""

import math
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from fobench.machine import graphs
from fobench.training import optimizer, state
from tests.benchmarks.gpu_scripts import FOLDER, run_script
from tests.training.cpu_graphs import CpuGraphs

pytestmark = pytest.mark.usefixtures("gpu_scripts")

CPU = torch.device("cpu")
UNITS, TOTAL = 40, 90_000
# Made up: a step of 5 ms, 0.1 less for each frozen unit, 0.12 less where nothing frozen runs.
STEP, LESS, LESS_STORED, CAPTURE = 5.0, 0.1, 0.12, 0.05


@pytest.fixture
def graphs_of_the_cpu(monkeypatch):
    monkeypatch.setattr(state, "Graphs", CpuGraphs)
    monkeypatch.setattr(state, "step_mode", lambda device, train: "graph")
    monkeypatch.setattr(optimizer, "FUSED", {"cpu"})
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)


def step_row(frozen: int, start: int, milliseconds: float, series: str = "depths", **other):
    rows = import_module("rows")
    made_up = {
        "device": "made-up card",
        "torch": "0.0",
        "network": "DenseNet-BC 76-12",
        "units": UNITS,
        "frozen": frozen,
        "start": start,
        "batch": 50,
        "precision": "float32",
        "layout": "channels_last",
        "mode": "graph",
        "series": series,
        "groups": 10,
        "steps": 100,
        "milliseconds": milliseconds,
        "low": milliseconds,
        "high": milliseconds,
        # A change of depth costs CAPTURE.
        "setup_seconds": None,
        "first_seconds": milliseconds / 1000 + 0.02,
        "capture_seconds": CAPTURE - 0.02,
        "peak_memory_bytes": None,
    }
    return rows.StepRow(**made_up | other)


@pytest.fixture
def made_up(tmp_path):
    """A folder with made-up steps: linear in the depth, every other depth timed at the cut."""
    rows = import_module("rows")
    table = rows.Table(tmp_path / "steps.csv", rows.StepRow)
    for turn, drift in (("start", -0.1), ("middle", 0.0), ("end", 0.1)):
        table.add(step_row(0, 0, STEP + drift, turn, first_seconds=STEP / 1000 + 0.02))
    for depth in range(1, UNITS):
        table.add(step_row(depth, 0, STEP - LESS * depth))
        if depth % 2:
            table.add(step_row(depth, depth, STEP - LESS_STORED * depth))
    table.add(step_row(0, 0, 99.0, "variant"))
    return tmp_path


@pytest.mark.parametrize("scaling", ["linear", "cubic"])
@pytest.mark.parametrize("t0", [0.5, 0.9])
def test_the_time_saved_is_that_of_adding_up_every_step(made_up, scaling, t0):
    paper_scale, rows = import_module("paper_scale"), import_module("rows")
    assert paper_scale.TOTAL_STEPS == TOTAL
    (network,) = paper_scale.measured_networks(
        rows.Table(made_up / "steps.csv", rows.StepRow).rows()
    )
    share = [t0 + (1 - t0) * unit / (UNITS - 1) for unit in range(UNITS - 1)]
    freeze = [math.ceil(each ** (3 if scaling == "cubic" else 1) * TOTAL - 1e-6) for each in share]
    depths = [0] * TOTAL
    for step in freeze:
        for later in range(step, TOTAL):
            depths[later] += 1
    changes = len(set(depths)) * CAPTURE
    taken = paper_scale.counts(UNITS, scaling, t0, TOTAL)
    assert taken == [depths.count(depth) for depth in range(UNITS)]
    baseline = TOTAL * STEP / 1000 + CAPTURE
    for steps, change, less in (
        (network.steps, network.changes, LESS),
        (network.stored, network.stored_changes, LESS_STORED),
    ):
        seconds = sum(STEP - less * depth for depth in depths) / 1000 + changes
        saved = paper_scale.saved_percent(
            steps, change, taken, paper_scale.baseline_seconds(network, TOTAL)
        )
        assert saved == pytest.approx(100 * (1 - seconds / baseline), abs=1e-4)


@pytest.mark.slow
def test_the_figure_names_what_it_is_of(made_up):
    drawn = made_up / "figure.svg"
    ran = run_script(sys.executable, FOLDER / "figure.py", made_up, "-o", drawn)
    assert ran.returncode == 0, ran.stderr
    for text in ("made-up card", "torch 0.0", "float32", "batches of 50", "n = 100 steps"):
        assert text in drawn.read_text()
    assert "a step with nothing frozen: 4.9 to 5.1 ms, timed 3 times" in drawn.read_text()
    assert "<dc:date>" not in drawn.read_text()


def test_no_figure_is_drawn_of_a_network_that_was_cut_off(made_up):
    path = made_up / "steps.csv"
    lines = [line for line in path.read_text().splitlines() if ",40,39," not in line]
    path.write_text("\n".join(lines) + "\n")
    ran = run_script(sys.executable, FOLDER / "figure.py", made_up, "-o", made_up / "none.svg")
    assert ran.returncode == 2
    assert "DenseNet-BC 76-12 is left out: it was not timed at its last depth" in ran.stderr


def test_the_predicted_seconds_are_those_of_adding_up_every_step():
    """Of 4 units, 12 epochs of 10 steps; a store behind one unit from epoch 5, two from epoch 9."""
    times = import_module("profile_times")
    profile = times.Profile(
        [
            *(as_read(step_row(depth, 0, 4.0 - depth, "profile")) for depth in range(4)),
            *(as_read(step_row(depth, depth, 3.5 - depth, "profile")) for depth in range(1, 4)),
            as_read(step_row(0, 0, 9.0, "epoch")),
        ]
    )
    assert profile.baseline_seconds("DenseNet-BC 76-12") == 0.004
    freeze_steps = [35, 75, 110, None]
    record = {
        "total_steps": 120,
        "steps_per_epoch": 10,
        "units": [{"freeze_step": step} for step in freeze_steps],
        "store_plan": {"builds": [{"epoch": 5, "cut": 1}, {"epoch": 9, "cut": 2}]},
        "graphs": {"capture_seconds": [0.25, 0.5]},
        "store": {"build_seconds": [0.125, 0.0]},
        "environment": {"gpu": "made-up card"},
    }
    epochs = [SimpleNamespace(total_train_seconds=seconds) for seconds in (1.0, 2.0)] * 6
    result = SimpleNamespace(id="a run", record=record, epochs=epochs)
    row = times.predict("an experiment", result, profile.times("DenseNet-BC 76-12"))
    seconds, prefixes = 0.0, []
    for step in range(120):
        depth = (step >= 35) + (step >= 75) + (step >= 110)
        cut = (step >= 40) + (step >= 80)
        # Stored activations at a cut spare 0.5 ms.
        seconds += (4.0 - depth - 0.5 * (cut > 0)) / 1000
        prefixes.append((cut, depth))
    # A prefix is captured at its second step, if 20 are left until a freeze: at 35, 75 or 110.
    ends = [next((end for end in (35, 75, 110) if end > step), 120) for step in range(120)]
    eager, captured, seen = 0, set(), set()
    for step, prefix in enumerate(prefixes):
        if prefix in seen and ends[step] - step >= graphs.MIN_REPLAYS:
            captured.add(prefix)
        seen.add(prefix)
        eager += prefix not in captured
    assert row.steps_seconds == pytest.approx(seconds)
    assert row.first_seconds == pytest.approx(0.02 * eager)
    assert (row.capture_seconds, row.build_seconds) == (0.75, 0.125)
    assert row.epoch_seconds == pytest.approx(12 * 0.009)
    predicted = seconds + 0.02 * eager + 0.75 + 0.125 + 12 * 0.009
    assert row.predicted_seconds == pytest.approx(predicted)
    assert row.difference_percent == pytest.approx(100 * (predicted / 2.0 - 1))
    assert times.MIN_REPLAYS == graphs.MIN_REPLAYS


def as_read(row) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in vars(row).items()}


def test_steps_are_timed_where_they_are_captured(graphs_of_the_cpu):
    sizes, stepper = import_module("sizes"), import_module("stepper")
    timing = stepper.Stepper(sizes.SMALL_DENSENET, CPU, 8)
    first, again = (timing.time(2, 2, "depths") for _ in range(2))
    timing.freeze(3)
    frozen, stored = (timing.time(2, 2, "depths", at_the_cut=cut) for cut in (False, True))
    assert [row.mode for row in (first, again, frozen, stored)] == ["graph"] * 4
    assert [row.capture_seconds is None for row in (first, again, frozen, stored)] == [
        *(False, True, False, False)
    ]
    assert again.first_seconds is None
    assert (frozen.frozen, frozen.start, stored.frozen, stored.start) == (3, 0, 3, 3)
    assert stored.milliseconds < first.milliseconds
    network = timing.training.network
    assert all(parameter.grad is None for parameter in network[:3].parameters())
    assert all(parameter.grad is not None for parameter in network[3:].parameters())


@pytest.mark.parametrize("with_stores", [False, True])
def test_the_profile_has_every_depth_where_steps_are_captured(graphs_of_the_cpu, with_stores):
    sizes, ladder = import_module("sizes"), import_module("ladder")
    small = replace(sizes.SMALL, timed_images=72)  # so that depths change within epochs
    training, laps = ladder.ladder(sizes.SMALL_DENSENET, small, CPU, with_stores)
    rows = ladder.rows_of(training, laps, 2, with_stores)
    assert len(laps) == training.run.total_steps
    profile = [row for row in rows if row.series == "profile"]
    assert [row.frozen for row in profile] == list(range(7))
    assert [row.start for row in profile] == [depth * with_stores for depth in range(7)]
    assert {row.mode for row in rows} == {"graph"}
    assert [row.capture_seconds is not None for row in profile].count(True) >= 5
    assert len(rows) - len(profile) == (0 if with_stores else 1)
    if with_stores:
        assert sum(seconds > 0 for seconds in training.activations.build_seconds) == 6
