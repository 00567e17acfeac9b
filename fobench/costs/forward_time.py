"""Seconds of the forward pass, unit by unit, measured on the device."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch

from fobench.data.order import Indices
from fobench.data.split import Split, View
from fobench.machine.clock import Laps
from fobench.machine.graphs import Graphs
from fobench.machine.values import Values

Unit = Callable[[Values], Values]
# At most ten seconds, unless a single batch takes long.
MIN_ROUNDS, MAX_ROUNDS, ROUNDS_SECONDS = 2, 30, 10.0
# Passes that a CUDA device is given before the host starts to read: so many that it is still busy
# with them when the read is started, unless the host is the slower one in training, too.
PASSES_AHEAD = 8


def forward_seconds(
    units: Sequence[Unit],
    split: Split,
    batch_size: int,
    graphs: Graphs | None = None,
    seconds: float = ROUNDS_SECONDS,
) -> tuple[float, tuple[float, ...]]:
    """Seconds per image to read it, and of each unit without gradients; medians over rounds.

    The units must be in evaluation mode. `split` provides the images, augmented if it pads them.
    With `graphs` each unit is captured and replayed, as in training with CUDA graphs.

    A round runs all units one after another, as training does, and waits for the device at its end
    only. Where the host starts the kernels of a unit more slowly than a CUDA device runs them, the
    seconds are those of starting them: that is what the unit costs in a pass that is not captured.
    In training the host starts to read a batch while a CUDA device is still busy with the last
    step; so here, too, the device has work when it does.
    """
    device = split.labels.device
    everything = Indices.of(torch.arange(batch_size) % len(split), device)
    view = split.draw_view(0, 0)
    x = split.images_at(everything, view)
    ahead: Callable[[], object] | None = None
    if graphs is not None:
        uncaptured, units = units, captured(units, x, graphs)
        ahead, _held = graphs.capture(partial(passed_through, uncaptured, x))
    elif device.type == "cuda":
        ahead = partial(passed_through, units, x)
    laps = Laps(device)
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < MIN_ROUNDS or (
        len(rounds) < MAX_ROUNDS and time.perf_counter() - began < seconds
    ):
        rounds.append(one_round(units, split, everything, view, laps, ahead))
    # The first round is slow: memory is allocated, algorithms are chosen.
    pixels, *forward = (median(each) / batch_size for each in zip(*rounds[1:], strict=True))
    return pixels, tuple(forward)


@torch.no_grad()
def one_round(
    units: Sequence[Unit],
    split: Split,
    indices: Indices,
    view: View | None,
    laps: Laps,
    ahead: Callable[[], object] | None = None,
) -> list[float]:
    """Seconds to read the images `indices` [B], and of each unit for them, with work `ahead`."""
    for _ in range(PASSES_AHEAD if ahead else 0):
        ahead()
    laps.mark()
    x = split.images_at(indices, view)
    laps.mark()
    for unit in units:
        x = unit(x)
        laps.mark()
    return laps.read()


@torch.no_grad()
def passed_through(units: Sequence[Unit], x: Values) -> Values:
    for unit in units:
        x = unit(x)
    return x


@torch.no_grad()
def captured(units: Sequence[Unit], x: Values, graphs: Graphs) -> list[Unit]:
    """The units, each captured on what the one before it returns for `x`, whatever it is called on.

    Seconds do not depend on which images go through, so nothing has to be copied between them.
    """
    found: list[Unit] = []
    for unit in units:
        unit(x)  # chooses algorithms
        replay, result = graphs.capture(partial(unit, x))
        found.append(partial(replayed, replay, (x, result)))
        x = result
    return found


def replayed(replay: Callable[[], None], held: tuple[Values, Values], _: Values) -> Values:
    """Replay; `held` are what the graph reads, which must stay alive, and what it fills."""
    replay()
    return held[1]
