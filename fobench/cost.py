"""What each unit costs, by FLOPs and measured, and what a method should therefore save."""

import copy
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fobench import methods, models
from fobench.clock import timed
from fobench.data import Split
from fobench.models.families import ModelOptions
from fobench.run import Run
from fobench.seeds import generator
from fobench.store import PLACES, NoRoomError, Store, no_memory_as_no_room
from fobench.store_plan import Place

BATCH = 2  # BatchNorm takes no batch of one
FLOAT32 = 4  # bytes
# To measure takes a minute at most, unless a batch or an allocation takes long: the rounds through
# the units, and in each place three passes over a store, one that writes and two that read.
LEAST_ROUNDS, MOST_ROUNDS, ROUNDS_SECONDS = 2, 30, 10.0
PASS_SECONDS = 5.0
SAMPLE_BYTES = 256 << 20  # of that store

T = TypeVar("T")


@dataclass(frozen=True)
class UnitCost:
    """A unit's size, and its work for one image in FLOPs, two a multiply-add.

    `backward_flops` are those of a backward pass that hands a gradient on to the unit before;
    `first_backward_flops` those of one that ends here. `activation_bytes` is what the unit hands
    on, in float32.
    """

    name: str
    parameters: int
    flops: int
    backward_flops: int
    first_backward_flops: int
    activation_bytes: int


def unit_costs(network: nn.Sequential, image_shape: Sequence[int]) -> list[UnitCost]:
    """The cost of each unit for images of [H, W, C]; computed on shapes alone."""
    height, width, channels = image_shape
    units = copy.deepcopy(network).to("meta").train()
    x = torch.empty(BATCH, channels, height, width, device="meta")
    costs = []
    for name, unit in units.named_children():
        forward, first_backward = count_flops(unit, x)
        _, backward = count_flops(unit, x.requires_grad_())
        x = unit(x).detach()
        costs.append(
            UnitCost(
                name=name,
                parameters=sum(parameter.numel() for parameter in unit.parameters()),
                flops=forward // BATCH,
                backward_flops=backward // BATCH,
                first_backward_flops=first_backward // BATCH,
                activation_bytes=x[0].numel() * x.element_size(),
            )
        )
    return costs


def count_flops(unit: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    """FLOPs of a unit's forward and of its backward pass."""
    with FlopCounterMode(display=False) as forward:
        y = unit(x)
    if not y.requires_grad:
        return forward.get_total_flops(), 0
    with FlopCounterMode(display=False) as backward:
        y.backward(torch.empty_like(y))
    return forward.get_total_flops(), backward.get_total_flops()


def step_flops(costs: Sequence[UnitCost], frozen: int) -> int:
    """FLOPs of one image's training step with the first `frozen` units frozen.

    All units run forward, the active ones backward; the first of them hands no gradient on.
    """
    forward = sum(cost.flops for cost in costs)
    backward = sum(cost.backward_flops for cost in costs[frozen + 1 :])
    return forward + backward + costs[frozen].first_backward_flops


def run_flops(costs: Sequence[UnitCost], freeze_steps: Sequence[int], total_steps: int) -> int:
    """FLOPs of a whole training of one image a step, by where each step's backward pass ends."""
    changes = sorted({0, total_steps, *(step for step in freeze_steps if step < total_steps)})
    return sum(
        (end - start) * step_flops(costs, sum(step <= start for step in freeze_steps))
        for start, end in pairwise(changes)
    )


def flops_of(run: Run, costs: Sequence[UnitCost]) -> int:
    """FLOPs of a whole training of one image a step."""
    return run_flops(costs, methods.freeze_steps(run, len(costs)), run.total_steps)


def saved_flops(run: Run, costs: Sequence[UnitCost]) -> float:
    """The share of its baseline's FLOPs that a run saves, in percent (negative if it adds)."""
    return 100 * (1 - flops_of(run, costs) / flops_of(run.its_baseline, costs))


def match(run: Run) -> Run:
    """The run with the most steps that cost no more FLOPs than the baseline of its epoch share."""
    costs, steps = costs_of(run), run.steps_by_share
    allowed = steps * step_flops(costs, 0)

    def is_paid_for(total_steps: int) -> bool:
        return flops_of(replace(run, matched_steps=total_steps), costs) <= allowed

    # No step costs less than a forward pass, so the end is near; FLOPs grow with every step.
    too_many = 2 * steps
    while is_paid_for(too_many):
        too_many *= 2
    found = bisect_left(range(steps, too_many), True, key=lambda each: not is_paid_for(each))
    return replace(run, matched_steps=steps + found - 1)


def work(run: Run) -> int:
    """FLOPs of a run's training and evaluation, to compare the time that runs take."""
    costs, used = costs_of(run), run.data_used
    evaluated = used.validation_images * run.epochs + used.test_images
    return run.train.batch_size * flops_of(run, costs) + evaluated * sum(
        cost.flops for cost in costs
    )


def costs_of(run: Run) -> list[UnitCost]:
    """The unit costs of a run's network."""
    used = run.data_used
    return costs_of_network(run.family, run.model, used.classes, used.image_shape)


@cache
def costs_of_network(
    family: str, model: ModelOptions, classes: int, image_shape: tuple[int, int, int]
) -> list[UnitCost]:
    with torch.device("meta"):
        network = models.build(family, classes, image_shape[2], **vars(model))
    return unit_costs(network, image_shape)


def measure(
    units: Sequence[nn.Module], split: Split, batch_size: int
) -> tuple[float, tuple[float, ...]]:
    """Seconds to read an image, and of each unit for it without gradients, by medians of rounds.

    The units have to be in evaluation mode. `split` gives the images, augmented if it pads them.
    """
    device = split.labels.device
    everything = torch.arange(batch_size) % len(split)
    view = split.draw_view(0, 0)
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < LEAST_ROUNDS or (
        len(rounds) < MOST_ROUNDS and time.perf_counter() - began < ROUNDS_SECONDS
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
    # The first round is slow: memory is asked for, algorithms are chosen.
    pixels, *forward = (median(each) / batch_size for each in zip(*rounds[1:], strict=True))
    return pixels, tuple(forward)


def bytes_at_cuts(run: Run, dtype: torch.dtype) -> tuple[int, ...]:
    """Bytes of an image's activations as stored at each cut; 0 at cut 0, the pixels."""
    between = costs_of(run)[:-1]
    return (0, *(dtype.itemsize * unit.activation_bytes // FLOAT32 for unit in between))


def measure_place(
    name: str, units: Sequence[nn.Module], split: Split, batch_size: int, dtype: torch.dtype
) -> Place | None:
    """How fast a store there is written and read, and its room; None where there is none.

    The activations of most bytes are kept for a part of the images, and read in a random order.
    A scratch file of that size mostly lies in the page cache: its speed is that of files which fit.
    """
    try:
        with no_memory_as_no_room():
            return place_of(name, units, split, batch_size, dtype)
    except NoRoomError:
        return None


def place_of(
    name: str, units: Sequence[nn.Module], split: Split, batch_size: int, dtype: torch.dtype
) -> Place:
    """As `measure_place`. Raises NoRoomError where there is no room."""
    device = split.labels.device
    room = PLACES[name].room(device)
    with torch.no_grad():
        x = forward_to_largest(units, split.images_at(torch.arange(batch_size) % len(split)))
    sample = min(SAMPLE_BYTES, room) // (x.numel() * dtype.itemsize)
    batches = max(1, min(sample, len(split) // batch_size))
    count = batches * batch_size
    with timed(device) as allocating:
        store = Store(count, x, dtype, name, device)
    # Each store is built into fresh memory, so what its first write takes is what is to be told.
    written, writing = write(store, x, count, device)
    read(store, written, batch_size, device)  # whatever is slow the first time
    images, reading = read(store, written, batch_size, device)
    image_bytes, write_seconds = store.bytes / count, allocating.seconds / count + writing / written
    return Place(name, room, image_bytes * images / reading, image_bytes / write_seconds)


def write(store: Store, batch: torch.Tensor, count: int, device: torch.device) -> tuple[int, float]:
    """Fill a store of `count` images with copies of a batch: how many were written in how long."""
    written = 0
    with timed(device) as writing:
        for start in for_seconds(PASS_SECONDS, range(0, count, len(batch))):
            store.write(start, batch)
            written += len(batch)
    return written, writing.seconds


def read(store: Store, count: int, batch_size: int, device: torch.device) -> tuple[int, float]:
    """Read the first `count` images in a random order: how many were read in how long."""
    order = torch.randperm(count, generator=generator(0, 0, "cost")).split(batch_size)
    with timed(device) as reading:
        images = sum(len(store.read(indices)) for indices in for_seconds(PASS_SECONDS, order))
    return images, reading.seconds


def for_seconds(seconds: float, items: Iterable[T]) -> Iterator[T]:
    """The items until so many seconds are over; at least the first."""
    end = time.perf_counter() + seconds
    for item in items:
        yield item
        if time.perf_counter() > end:
            return


def forward_to_largest(units: Sequence[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """The activations of most bytes between two units."""
    between = []
    for unit in units[:-1]:
        x = unit(x)
        between.append(x)
    return max(between, key=torch.numel)


def describe(run: Run) -> dict[str, Any]:
    """The unit table and the predicted saving, as they stand in run.json."""
    costs = costs_of(run)
    freeze_steps = methods.freeze_steps(run, len(costs))
    return {
        "units": [
            {**asdict(cost), "freeze_step": step if step < run.total_steps else None}
            for cost, step in zip(costs, freeze_steps, strict=True)
        ],
        "annealing_steps": methods.annealing_steps(run),
        "predictions": {"flops_saved_percent": saved_flops(run, costs)},
    }
