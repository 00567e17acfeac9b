"""Figures hold what the results say, in each format."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from fobench import cli, plot
from fobench.errors import UserError


@pytest.fixture(scope="module")
def panels(tiny_results):
    return plot.read_panels([tiny_results])[0]


def test_the_speedup_figure_has_a_point_a_method(panels):
    """The points drawn are the time saved and the test error of the runs' files."""
    axes = plot.speedup_error(panels).axes[0]
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
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["baseline trained shorter", "baseline", "FreezeOut linear, scaled rates"]
    assert "n = 1, so no interval" in axes.get_legend().get_title().get_text()


@pytest.mark.parametrize("kind", plot.KINDS)
def test_a_figure_names_data_sizes_epochs_seeds_and_device(panels, kind):
    text = plot.KINDS[kind](panels).axes[0]
    title = text.get_title() + text.get_title(loc="left")
    for told in ("DenseNet-BC 10-4", "synthetic", "45 training images", "3 epochs",
                 "20 test images", "seed 0", "threads"):  # fmt: skip
        assert told in title


def test_a_set_taken_for_want_of_another_is_named(panels):
    panels[0].runs[0].record["run"]["data"]["dataset"] = ["cifar10", "synthetic"]
    assert "synthetic (for want of cifar10)" in plot.title(panels[0])


def test_curves_show_every_epoch_of_every_method(panels):
    by_epoch, by_time = plot.curves(panels).axes
    assert len(by_epoch.lines) == len(by_time.lines) == 4
    assert list(by_epoch.lines[0].get_xdata()) == [1, 2, 3]
    # The shorter baseline ends within its second epoch, after 8 of 15 steps.
    assert list(by_epoch.lines[1].get_xdata()) == [1, pytest.approx(1.6)]
    by_id = {run.id: run for run in panels[0].runs}
    errors = [row.val_error for row in by_id[panels[0].table["id"][0]].epochs]
    assert list(by_time.lines[0].get_ydata()) == errors


@pytest.mark.parametrize("kind", plot.KINDS)
@pytest.mark.parametrize("suffix", plot.SUFFIXES)
def test_each_format_is_written_and_repeats(panels, kind, suffix, tmp_path):
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        plot.draw(panels, kind, file)
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert files[0].read_bytes().startswith(starts[suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_repeats_do_not_narrow_the_bands_of_the_curves(panels):
    """Two seeds, each run twice with equal errors, give the band of two seeds."""
    one = panels[0].runs[0]
    other = deepcopy(one)
    other.record["run"]["seed"] = 1
    other.epochs[:] = [replace(row, val_error=row.val_error + 2) for row in other.epochs]
    once = plot.mean_curve([one, other], "val_error")
    twice = plot.mean_curve([one, other] * 2, "val_error")
    assert once[["low", "mean", "high"]].equals(twice[["low", "mean", "high"]])


def test_several_experiments_stand_side_by_side(panels):
    two = plot.speedup_error(panels * 2)
    assert len({ax.get_position().y0 for ax in two.axes}) == 1
    four = plot.speedup_error(panels * 4)
    assert sum(ax.axison for ax in four.axes) == 4


def test_the_commands_offer_every_kind():
    """The kinds are written out in cli.py, which must not wait for matplotlib."""
    (kind,) = (option for option in cli.plot.params if option.name == "kind")
    assert list(kind.type.choices) == list(plot.KINDS)


def test_a_figure_that_cannot_be_written_is_named(panels):
    with pytest.raises(UserError, match="cannot be written"):
        plot.draw(panels, "curves", Path("/proc/none/figure.png"))
