"""Seconds of the forward pass: each unit has its own, and nothing waits between them."""

import time

import pytest
import torch
from torch import nn

from fobench.costs.forward_time import MAX_ROUNDS, MIN_ROUNDS, PASSES_AHEAD, forward_seconds
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
    one_by_one, all_at_once = (3, 3, 2, 2, 1, 1), (3, 2, 1)
    assert made._captures == 3 + 1
    assert calls == [(BATCH, channels, 8, 8) for channels in one_by_one + all_at_once]
    assert min(pixels, *forward) > 0


class WatchedGraphs(CpuGraphs):
    """Notes each replay, by the number of its capture."""

    def __init__(self, order: list[object]) -> None:
        super().__init__(torch.device("cpu"))
        self._order = order

    def capture(self, work, *others):
        replay, result = super().capture(work, *others)
        number = self._captures

        def noted() -> None:
            self._order.append(number)
            replay()

        return noted, result


def test_whole_passes_are_replayed_before_each_read_of_images(monkeypatch):
    """As the last step is in training, while the host starts the read."""
    order: list[object] = []
    monkeypatch.setattr(clock.Laps, "mark", lambda self: order.append("mark"))
    monkeypatch.setattr(clock.Laps, "read", lambda self: order.append("read") or [1.0] * 3)
    units = [lambda x: x + 1, lambda x: x * 2]
    forward_seconds(units, images(BATCH), BATCH, WatchedGraphs(order), seconds=-1.0)
    one = [3] * PASSES_AHEAD + ["mark", "mark", 1, "mark", 2, "mark", "read"]
    assert order == one * MIN_ROUNDS
