"""Seconds of the forward pass, unit by unit, measured on the device."""

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import nn

from fobench.data.split import Split
from fobench.machine.clock import timed

# At most ten seconds, unless a single batch takes long.
MIN_ROUNDS, MAX_ROUNDS, ROUNDS_SECONDS = 2, 30, 10.0


def forward_seconds(
    units: Sequence[nn.Module], split: Split, batch_size: int
) -> tuple[float, tuple[float, ...]]:
    """Seconds per image to read it, and of each unit without gradients; medians over rounds.

    The units must be in evaluation mode. `split` provides the images, augmented if it pads them.
    """
    device = split.labels.device
    everything = torch.arange(batch_size) % len(split)
    view = split.draw_view(0, 0)
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < MIN_ROUNDS or (
        len(rounds) < MAX_ROUNDS and time.perf_counter() - began < ROUNDS_SECONDS
    ):
        seconds: list[float] = []
        with timed(device) as reading:
            x = split.images_at(everything, view)
        seconds.append(reading.seconds)
        for unit in units:
            with timed(device) as running, torch.no_grad():
                x = unit(x)
            seconds.append(running.seconds)
        rounds.append(seconds)
    # The first round is slow: memory is allocated, algorithms are chosen.
    pixels, *forward = (median(each) / batch_size for each in zip(*rounds[1:], strict=True))
    return pixels, tuple(forward)
