"""Figures hold what the results say, in each format."""

from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from fobench.cli.plot import plot
from fobench.errors import UserError
from fobench.evidence.results import read_results
from fobench.figures import FIGURES, SUFFIXES, curves, pareto, speedup_error, time_spent
from fobench.figures.curves import mean_curve
from fobench.figures.export import draw
from fobench.figures.schedule import unit_rates
from fobench.figures.style import styles
from fobench.freezing.freezeout import FreezeOut
from fobench.methods.baseline import BaselineOptions
from fobench.methods.freezeout import FreezeOutOptions
from fobench.methods.snapshot import SnapshotOptions


def figure_of(kind):
    return import_module(f"fobench.figures.{FIGURES[kind]}").draw


@pytest.fixture(scope="module")
def panels(tiny_results):
    return read_results([tiny_results])[0]


def test_the_speedup_figure_has_a_point_a_method(panels):
    """The points drawn are the time saved and the test error of the runs' files."""
    axes = speedup_error.draw(panels).axes[0]
    drawn = {
        (round(x, 6), round(y, 6))
        for container in axes.containers
        for x, y in zip(*container.lines[0].get_data(), strict=True)
    }
    rows = {run.id: run.epochs[-1] for run in panels[0].runs}
    expected = set()
    for run in panels[0].runs:
        baseline = rows[run.record["baseline"]].total_train_seconds
        saved = 100 * (1 - rows[run.id].total_train_seconds / baseline)
        expected.add((round(saved, 6), round(rows[run.id].test_error, 6)))
    assert drawn == expected
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "within 3% of the baseline's error",
        "the line to beat",
        "baseline",
        "baseline trained shorter",
        "FreezeOut linear, scaled rates",
    ]
    assert "n = 1 of errors and of times, so no interval" in legend.get_title().get_text()


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_names_data_sizes_epochs_seeds_and_device(panels, kind):
    figure = figure_of(kind)(panels)
    texts = " ".join(text.get_text() for text in figure.findobj(Text))
    for text in ("DenseNet-BC 10-4", "synthetic", "45 training images", "3 epochs",
                 "20 test images", "seed 0", "thread"):  # fmt: skip
        assert text in texts


def test_a_fallback_data_set_is_reported(panels):
    runs = deepcopy(panels[0].runs)
    runs[0].record["run"]["data"]["dataset"] = ["cifar10", "synthetic"]
    assert "synthetic (cifar10 not found)" in replace(panels[0], runs=runs).title


def test_curves_show_every_epoch_of_every_method(panels):
    # Each line has a point at its end.
    by_epoch, by_time = (
        [line for line in ax.lines if "n = 1" in line.get_label()]
        for ax in curves.draw(panels).axes
    )
    assert len(by_epoch) == len(by_time) == 4
    assert list(by_epoch[0].get_xdata()) == [1, 2, 3]
    # The shorter baseline ends within its second epoch, after 8 of 15 steps.
    assert list(by_epoch[1].get_xdata()) == [1, pytest.approx(1.6)]
    by_id = {run.id: run for run in panels[0].runs}
    errors = [row.val_error for row in by_id[panels[0].table["id"][0]].epochs]
    assert list(by_time[0].get_ydata()) == errors


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_is_written_and_repeats(panels, kind, suffix, tmp_path):
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        draw(panels, kind, file)
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert files[0].read_bytes().startswith(starts[suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_every_line_has_a_marker_of_its_own():
    """Whether it is joined by a line or not, and whether its points are open or full."""
    lines = [
        BaselineOptions(),
        BaselineOptions(epoch_share=0.5),
        BaselineOptions(annealing="constant"),
        *(FreezeOutOptions(scaling=each) for each in ("linear", "cubic")),
        *(FreezeOutOptions(views=views) for views in range(1, 8)),
        FreezeOutOptions(match_time=True),
        SnapshotOptions(),
    ]
    panel = SimpleNamespace(summary=pd.DataFrame({"method": lines}))
    found = list(styles([panel]).values())
    assert len(found) == len(lines)
    assert len({(style.colour, style.marker) for style in found}) == len(lines)
    assert found[0].marker == "*"


def test_the_legend_of_curves_shows_the_markers_at_their_ends(panels):
    by_epoch, by_time = curves.draw(panels[:1]).axes
    drawn = [line for line in by_epoch.lines if not line.get_label().startswith("_")]
    assert all(line.get_marker() != "None" and line.get_markevery() == [-1] for line in drawn)
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn}
    assert len(looks) == len(drawn) == len(by_time.legend_.get_texts())


def test_repeats_do_not_narrow_the_bands_of_the_curves(panels):
    """Two seeds, each run twice with equal errors, give the band of two seeds."""
    one = panels[0].runs[0]
    other = deepcopy(one)
    other.record["run"]["seed"] = 1
    other.epochs[:] = [replace(row, val_error=row.val_error + 2) for row in other.epochs]
    once = mean_curve([one, other], "val_error")
    twice = mean_curve([one, other] * 2, "val_error")
    assert once[["low", "mean", "high"]].equals(twice[["low", "mean", "high"]])


@pytest.mark.parametrize("kind", ["speedup-error", "pareto", "time"])
def test_several_experiments_are_in_a_row_with_a_common_x_axis(panels, kind):
    """Also if one saves half as much time as the others."""
    summary = panels[0].summary
    half = summary.assign(saved=summary["saved"] / 2)
    axes = figure_of(kind)([*panels * 3, replace(panels[0], summary=half)]).axes
    assert len(axes) == 4
    assert len({ax.get_position().y0 for ax in axes}) == 1
    assert len({ax.get_xlim() for ax in axes}) == 1


@pytest.mark.parametrize("kind", ["speedup-error", "pareto"])
def test_each_experiment_of_a_row_has_its_own_scale_of_errors(panels, kind):
    """A network with ten times the errors of another leaves its panel as it was."""
    summary = panels[0].summary
    other = replace(panels[0], summary=summary.assign(error=10 * summary["error"]))
    alone, beside = figure_of(kind)(panels), figure_of(kind)([panels[0], other])
    assert beside.axes[0].get_ylim() == pytest.approx(alone.axes[0].get_ylim())
    low, high = beside.axes[1].get_ylim()
    assert low < other.summary["error"].min() <= other.summary["error"].max() < high
    note = "each panel has its own scale of errors"
    assert note in beside.legends[0].get_title().get_text()
    assert note not in alone.legends[0].get_title().get_text()


def test_each_experiment_of_a_row_names_its_own_methods(panels):
    """Also where the axes are shared."""
    other = replace(panels[0], summary=panels[0].summary.iloc[1:])
    one, two = time_spent.draw([panels[0], other]).axes
    assert [label.get_text() for label in one.get_yticklabels()][1:] == [
        label.get_text() for label in two.get_yticklabels()
    ]


def test_points_stay_in_the_frame_when_intervals_do_not(panels):
    errors = range(90, 90 + len(panels[0].summary))
    wild = {"saved_low": -1e6, "saved_high": 1e6, "error_low": 0, "error_high": 1e3}
    summary = panels[0].summary.assign(error=errors, **wild)
    wide = replace(panels[0], summary=summary)
    (ax,) = speedup_error.draw([wide]).axes
    for low, high, column in ((*ax.get_xlim(), "saved"), (*ax.get_ylim(), "error")):
        assert low < summary[column].min() <= summary[column].max() < high
        assert high - low < 3 * (summary[column].max() - summary[column].min())


def test_the_time_figure_shows_all_seconds_of_training_and_evaluation(panels):
    (ax,) = time_spent.draw(panels).axes
    ends: dict[float, float] = {}
    for bar in ax.patches:
        place = round(bar.get_y() + bar.get_height() / 2)
        ends[place] = max(ends.get(place, 0), bar.get_x() + bar.get_width())
    expected = [
        run.epochs[-1].total_train_seconds + sum(epoch.eval_seconds for epoch in run.epochs)
        for run in panels[0].runs
    ]
    assert [ends[place] for place in range(len(expected))] == pytest.approx(expected)


def test_the_schedule_figure_shows_the_rates_that_the_method_sets(panels, tiny_results):
    """Against FreezeOut itself, step by step."""
    import torch

    run = next(run for run in panels[0].runs if "t0.30" in run.id)
    units = [torch.nn.Linear(1, 1) for _ in run.record["units"]]
    optimizer = torch.optim.SGD([{"params": unit.parameters()} for unit in units], lr=0.1)
    method = FreezeOut(units, optimizer, run.record["total_steps"], 0.3, "linear")
    set_by_method = []
    for _ in range(run.record["total_steps"]):
        method.step()
        set_by_method.append([group["lr"] for group in optimizer.param_groups])
    progress = np.arange(run.record["total_steps"]) / run.record["total_steps"]
    drawn = unit_rates(run.record, progress)
    np.testing.assert_allclose(drawn.T, set_by_method, atol=1e-12)


def test_a_constant_rate_is_drawn_as_one(panels):
    record = deepcopy(panels[0].runs[0].record)
    record["run"]["method"] = {"name": "baseline", "epoch_share": 1.0, "annealing": "constant"}
    assert unit_rates(record, np.array([0.0, 0.98])) == pytest.approx(0.1)


def test_the_warm_up_is_drawn_and_that_of_a_member_started_anew(panels):
    """Of 15 steps, 5 an epoch; a run recorded before there was one has none."""
    record = deepcopy(panels[0].runs[0].record)
    record["run"]["method"] = {"name": "baseline", "annealing": "constant"}
    del record["run"]["train"]["warmup_epochs"]
    steps = np.array([0, 1, 2, 5, 6, 14]) / 15
    assert unit_rates(record, steps) == pytest.approx(0.1)
    record["run"]["train"]["warmup_epochs"] = 0.4
    drawn = unit_rates(record, steps)
    assert drawn == pytest.approx(np.tile(0.1 * np.array([0.5, 1, 1, 1, 1, 1]), (len(drawn), 1)))
    record["run"]["method"] = {"name": "ensemble", "members": 3}
    drawn = unit_rates(record, np.array([0.0, 5.0, 6.0]) / 15)[0]
    annealed = 0.05 * (1 + np.cos(np.pi / 5))
    assert drawn == pytest.approx([0.05, 0.05, annealed])


def test_the_schedule_of_the_published_code_is_drawn_over_more_steps_than_there_are(panels):
    """Ten ninths of 15 steps, rounded up: 17; unit 0 of 7 freezes in step 6."""
    record = deepcopy(panels[0].runs[-1].record)
    options = {"scaling": "linear", "scale_lr": False, "t0": 0.3, "compat": "reference"}
    record["run"]["method"] = {"name": "freezeout", **options}
    record["units"][0]["freeze_step"] = 6
    first, *_, head = unit_rates(record, np.array([0.0, 0.2, 0.4]))
    expected = 0.05 * (1 + np.cos(np.pi * np.array([0, 3 / 17, 6 / 17]) / 0.3))
    assert first == pytest.approx([*expected[:2], 0])
    assert head == pytest.approx(0.05 * (1 + np.cos(np.pi * np.array([0, 3, 6]) / 17)))


def test_the_front_of_the_pareto_figure_is_drawn_through_what_nothing_beats(panels):
    (ax,) = pareto.draw(panels).axes
    front = panels[0].summary[panels[0].summary["on_front"]]
    x, y = ax.lines[0].get_data()
    assert sorted(x) == pytest.approx(sorted(100 - front["saved"]))
    assert list(x) == sorted(x), "from the fastest"
    assert list(y) == sorted(y, reverse=True), "the slower, the more accurate"


def test_the_commands_offer_every_kind():
    """Though the command does not wait for matplotlib."""
    (kind,) = (option for option in plot.params if option.name == "kind")
    assert list(kind.type.choices) == [*FIGURES, "all"]


def test_a_figure_that_cannot_be_written_is_reported(panels):
    with pytest.raises(UserError, match="cannot be written"):
        draw(panels, "curves", Path("/proc/none/figure.png"))
