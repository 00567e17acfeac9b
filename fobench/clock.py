"""Timing: wall-clock and processor seconds of a span, with the device waited for at both ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fobench.device import synchronize


@dataclass
class Span:
    """Seconds by the wall and seconds of processor time of all threads; set when it ends."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def timed(device: torch.device) -> Iterator[Span]:
    """Time the block. The device is synchronised here and nowhere in between."""
    span = Span()
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    yield span
    synchronize(device)
    span.seconds, span.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
