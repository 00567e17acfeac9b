"""The scripts that measure on a GPU: what they compute, and how they time steps."""

import math
import sys
from importlib import import_module

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
