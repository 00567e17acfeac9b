"""The progress shown while a run trains."""

import io

import pytest

from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.training.progress import Progress
from tests.records.test_runs import ROW


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tiny):
    return expand(load(tiny), open_synthetic("synthetic", 55, 20))[0]


def test_a_bar_shows_epoch_loss_frozen_units_and_rate(run, monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    progress = Progress()
    with progress.of(run):
        for _ in range(5):
            progress.step(9, frozen=2)
        progress.epoch(ROW)
        progress.step(9, frozen=3)
    shown = terminal.getvalue().replace("\r", "\n")
    assert "epoch 1/3" in shown
    last = shown.strip().splitlines()[-1]
    assert "epoch 2/3" in last
    assert "54/135" in last
    assert "3 frozen, loss 0.333" in last
    assert "img/s" in last or "s/img" in last


def test_a_process_without_a_standard_error_shows_nothing(run, monkeypatch, caplog):
    """As in a service; the epochs are logged all the same."""
    monkeypatch.setattr("sys.stderr", None)
    caplog.set_level("INFO")
    progress = Progress()
    with progress.of(run):
        progress.step(10, frozen=2)
        progress.epoch(ROW)
    assert caplog.messages[0].startswith("epoch 1/3")


def test_off_a_terminal_an_epoch_is_a_line(run, monkeypatch, caplog):
    monkeypatch.setattr("sys.stderr", quiet := io.StringIO())
    caplog.set_level("INFO")
    progress = Progress()
    with progress.of(run):
        progress.step(10, frozen=2)
        progress.epoch(ROW)
    assert quiet.getvalue() == ""
    (line,) = caplog.messages
    assert line.startswith("epoch 1/3: loss 0.333, error train 50.0 %, test 38.6 %, 2 frozen")
