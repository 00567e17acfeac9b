"""Seconds of the forward pass: each unit has its own, and nothing waits between them."""

import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fobench.costs.forward_time import MAX_ROUNDS, MIN_ROUNDS, forward_seconds, one_round
from fobench.data.split import Split
from fobench.machine import clock
from tests.training.cpu_graphs import CpuGraphs

BATCH = 4


class Slow(nn.Module):
    """Takes longer in its first call, as units do that allocate memory and choose algorithms."""

    first, seconds = 0.1, 0.01

    def __init__(self) -> None:
        super().__init__()
        self.gradients: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.gradients.append(torch.is_grad_enabled())
        time.sleep(self.first if len(self.gradients) == 1 else self.seconds)
        return x


def images(count: int) -> Split:
    shape = (count, 8, 8, 3)
    return Split(
        images=torch.zeros(shape, dtype=torch.uint8),
        labels=torch.zeros(count, dtype=torch.int64),
        mean=torch.zeros(3),
        std=torch.ones(3),
    )


@pytest.mark.parametrize("count", [BATCH, BATCH - 1])
def test_each_unit_has_its_own_seconds_per_image_without_the_first_round(count):
    """Fewer images than a batch are repeated."""
    units = [nn.Identity(), Slow(), nn.Identity()]
    pixels, (before, slow, after) = forward_seconds(units, images(count), BATCH)
    assert Slow.seconds <= slow * BATCH < Slow.first
    assert 0 < max(before, after) < slow
    assert 0 < pixels < slow
    assert not any(units[1].gradients)


@pytest.mark.parametrize(("seconds", "rounds"), [(-1.0, MIN_ROUNDS), (60.0, MAX_ROUNDS)])
def test_a_round_waits_for_the_device_once(monkeypatch, seconds, rounds):
    """However many units there are, and however little time."""
    waited = []
    monkeypatch.setattr(clock, "synchronize", waited.append)
    forward_seconds([nn.Identity()] * 7, images(BATCH), BATCH, seconds=seconds)
    assert len(waited) == rounds


def test_units_are_captured_and_replayed_where_steps_are():
    """Each once, on what the one before it returned; then only replays are timed."""
    calls, made = [], CpuGraphs(torch.device("cpu"))

    def unit(x: torch.Tensor) -> torch.Tensor:
        calls.append(x.shape)
        return x[:, :-1] * 2

    pixels, forward = forward_seconds([unit] * 3, images(BATCH), BATCH, made)
    assert made._captures == 3
    assert calls == [(BATCH, channels, 8, 8) for channels in (3, 3, 2, 2, 1, 1)]
    assert min(pixels, *forward) > 0


def test_the_device_is_busy_when_a_read_of_images_is_timed(monkeypatch):
    """As in training, where the graph of the last step still runs: starting a read is no cost."""
    order = []
    laps = SimpleNamespace(mark=lambda: order.append("mark"), read=lambda: [1.0])
    split = SimpleNamespace(images_at=lambda *_: order.append("read"))
    unit, before = (lambda _, name=name: order.append(name) for name in ("unit", "before"))
    one_round([unit], split, None, None, laps, [before, before])
    assert order == ["before", "before", "mark", "read", "mark", "unit", "mark"]
