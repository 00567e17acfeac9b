"""Wall-clock and processor seconds of a block, of its parts, and between marks in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch

from fobench.machine.device import synchronize


@dataclass
class Timing:
    """Wall-clock seconds, and processor seconds of all threads; set at the end of the block."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Stopwatch:
    """Adds up the seconds of parts of a timed block, without waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        if self._device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((start, end))
        else:
            start_seconds = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - start_seconds

    def read(self) -> float:
        """The seconds since the last call; synchronizes with the device."""
        synchronize(self._device)
        seconds = self._seconds + sum(start.elapsed_time(end) for start, end in self._events) / 1000
        self._seconds, self._events = 0.0, []
        return seconds


class Laps:
    """Seconds from mark to mark, without waiting for the device at each.

    On CUDA a mark is an event on the current stream: it passes when the work before it is done. If
    the host is slower in starting work than the device in doing it, the device waits for the host
    between two marks, and that time counts.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[torch.cuda.Event] | list[float] = []

    def mark(self) -> None:
        """End a lap and begin the next one; the first call only begins one."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def read(self) -> list[float]:
        """Seconds of each lap since the last call; synchronizes with the device."""
        synchronize(self._device)
        laps = list(pairwise(self._marks))
        self._marks = []
        if self._device.type == "cuda":
            return [start.elapsed_time(end) / 1000 for start, end in laps]  # from milliseconds
        return [end - start for start, end in laps]


@contextmanager
def timed(device: torch.device) -> Iterator[Timing]:
    """Time the block, synchronizing with the device before and after."""
    timing = Timing()
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    yield timing
    synchronize(device)
    timing.seconds, timing.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
