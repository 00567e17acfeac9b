"""The progress that is shown of runs at once."""

from dataclasses import replace

import pytest

from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.sweep.display import Lines, display_for, progress_text
from fobench.sweep.messages import Trained
from tests.records.test_runs import ROW
from tests.training.test_progress import Terminal


@pytest.fixture
def run(tiny):
    return expand(load(tiny), open_synthetic("synthetic", 55, 20))[0]


def test_a_terminal_shows_a_bar_a_worker_and_a_line_for_the_whole(run, monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with display_for(2, 4) as display:
        display.start(1, run, 0)
        display.start(2, run, 90)  # resumed after two of three epochs
        display.step(1, run, Trained(9, 1, 2))
        display.epoch(1, run, replace(ROW, frozen_units=5))
        display.whole(1, 4, 5400)
    shown = terminal.getvalue()
    assert "1: epoch 1/3" in shown
    assert "2: epoch 3/3" in shown
    assert "90/135" in shown
    assert "0 of 4 runs done" in shown
    assert "1 of 4 runs done, about 1 h 30 min left" in shown
    last = shown.rpartition("1: epoch 2/3")[2]
    assert "45/135" in last
    assert "5 frozen, loss 0.333" in last


def test_a_run_that_follows_starts_its_bar_anew(run, monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with display_for(1, 2) as display:
        display.start(1, run, 0)
        display.epoch(1, run, ROW)
        display.start(1, run, 0)
    last = terminal.getvalue().rpartition("1: epoch 1/3")[2]
    assert "0/135" in last
    assert "loss" not in last


def test_off_a_terminal_an_epoch_is_a_line_with_worker_and_run(run, caplog):
    caplog.set_level("INFO")
    with display_for(2, 4) as display:
        assert isinstance(display, Lines)
        display.start(2, run, 0)
        display.step(2, run, Trained(9, 1, 2))
        display.epoch(2, run, replace(ROW, epoch=2))
        display.whole(2, 4, None)
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith(f"2: {run.id}: epoch 2/3: loss 0.333")
    assert caplog.messages[1] == "2 of 4 runs done"


def test_nothing_is_left_when_all_are_done():
    assert progress_text(4, 4, 0.0) == "4 of 4 runs done"
