"""Sizes of stored activations, and the read and write speed of each place for stores."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import nn

from fobench.activations.places import PLACES, NoRoomError, out_of_memory_as_no_room
from fobench.activations.plan import Place
from fobench.activations.staging import BUFFERS
from fobench.activations.store import Store
from fobench.costs.unit_costs import FLOAT32, unit_costs_of
from fobench.data.split import Split
from fobench.experiment.run import Run
from fobench.machine.clock import timed
from fobench.machine.seeds import generator
from fobench.machine.values import Values, images_in, numel

# Three timed passes over a store in each place: one writes, two read.
PASS_SECONDS = 5.0

T = TypeVar("T")


def bytes_at_cuts(run: Run, dtype: torch.dtype) -> tuple[int, ...]:
    """Bytes of an image's activations as stored at each cut; 0 at cut 0, the pixels."""
    between = unit_costs_of(run)[:-1]
    return (0, *(dtype.itemsize * unit.activation_bytes // FLOAT32 for unit in between))


def measure_place(
    name: str, units: Sequence[nn.Module], split: Split, batch_size: int, dtype: torch.dtype
) -> Place | None:
    """Read and write speed of a place, and its room; None if it has no room.

    The largest activations are stored for part of the images and read in random order, in a store
    of the place's `sample_bytes` at most. A scratch file of that size is mostly in the page cache,
    so its speed is that of files that fit there.
    """
    try:
        with out_of_memory_as_no_room():
            return measure_place_or_raise(name, units, split, batch_size, dtype)
    except NoRoomError:
        return None


def measure_place_or_raise(
    name: str, units: Sequence[nn.Module], split: Split, batch_size: int, dtype: torch.dtype
) -> Place:
    """Like `measure_place`, but raises NoRoomError."""
    device = split.labels.device
    place, room = PLACES[name], PLACES[name].room(device)
    with torch.no_grad():
        x = largest_activations(units, split.images_at(torch.arange(batch_size) % len(split)))
    sample = min(place.sample_bytes, room) // (numel(x) * dtype.itemsize)
    batches = max(1, min(sample, len(split) // batch_size))
    count = batches * batch_size
    if device.type == "cuda":
        warm_up(x, dtype, name, device)
    with timed(device) as allocating:
        store = Store(count, x, dtype, name, device)
    allocated = 0.0 if place.reuses_memory else allocating.seconds
    # Each store is written once, to new pages where memory is not reused, so the first write is the
    # one to measure.
    written, writing = write(store, x, count, device)
    read(store, written, batch_size, device)  # warm-up
    images, reading = read(store, written, batch_size, device)
    image_bytes, write_seconds = store.bytes / count, allocated / count + writing / written
    return Place(name, room, image_bytes * images / reading, image_bytes / write_seconds)


def warm_up(batch: Values, dtype: torch.dtype, name: str, device: torch.device) -> None:
    """Write a small store, so that kernels are loaded and pinned buffers allocated."""
    store = Store(images_in(batch), batch, dtype, name, device)
    for _ in range(BUFFERS):
        store.write(0, batch)
    store.finish()


def write(store: Store, batch: Values, count: int, device: torch.device) -> tuple[int, float]:
    """Fill a store of `count` images with copies of a batch. Returns images and seconds."""
    written, size = 0, images_in(batch)
    with timed(device) as writing:
        for start in for_seconds(PASS_SECONDS, range(0, count, size)):
            store.write(start, batch)
            written += size
        store.finish()
    return written, writing.seconds


def read(store: Store, count: int, batch_size: int, device: torch.device) -> tuple[int, float]:
    """Read the first `count` images in random order. Returns images and seconds."""
    order = torch.randperm(count, generator=generator(0, 0, "cost")).to(store.device)
    batches = order.split(batch_size)
    with timed(device) as reading:
        images = sum(
            images_in(store.read(indices)) for indices in for_seconds(PASS_SECONDS, batches)
        )
    return images, reading.seconds


def for_seconds(seconds: float, items: Iterable[T]) -> Iterator[T]:
    """Yield items until the time is up; at least one."""
    end = time.perf_counter() + seconds
    for item in items:
        yield item
        if time.perf_counter() > end:
            return


def largest_activations(units: Sequence[nn.Module], x: Values) -> Values:
    """The largest activations between two units."""
    between = []
    for unit in units[:-1]:
        x = unit(x)
        between.append(x)
    return max(between, key=numel)
