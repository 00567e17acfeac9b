"""Marks between parts of a block, on the CPU and as events of a CUDA device."""

import time
from types import SimpleNamespace

import pytest
import torch

from fobench.machine import clock
from fobench.machine.clock import Laps

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_laps_are_the_seconds_from_mark_to_mark():
    laps = Laps(CPU)
    laps.mark()
    for seconds in (0.01, 0.03):
        time.sleep(seconds)
        laps.mark()
    one, other = laps.read()
    assert one >= 0.01
    assert other >= 0.03
    assert laps.read() == [], "what is read is gone"
    laps.mark()
    assert laps.read() == [], "a first mark only begins"


@pytest.fixture
def cuda(monkeypatch):
    """A CUDA device in name, whose clock ticks once per event: what it was asked, in order."""
    asked: list[str] = []

    class Event:
        def __init__(self, enable_timing=False):
            assert enable_timing
            self.ticks = None

        def record(self, stream):
            assert stream == "current of cuda"
            self.ticks = len(asked)
            asked.append("event")

        def elapsed_time(self, end):
            assert "wait" in asked[end.ticks :], "the end has not passed yet"
            return 1.0 * (end.ticks - self.ticks)  # milliseconds

    fake = SimpleNamespace(Event=Event, current_stream=lambda device: f"current of {device}")
    monkeypatch.setattr(clock.torch, "cuda", fake)
    monkeypatch.setattr(clock, "synchronize", lambda device: asked.append("wait"))
    return asked


def test_on_cuda_laps_wait_once_when_they_are_read(cuda):
    laps = Laps(CUDA)
    for _ in range(4):
        laps.mark()
    assert cuda == ["event"] * 4
    assert laps.read() == [0.001] * 3
    assert cuda == [*["event"] * 4, "wait"]
    assert laps.read() == []
