"""Pinned memory between stores on the host and a CUDA device, so that copies overlap with work."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

# Copies under way at once. It bounds how far the host runs ahead of the device.
BUFFERS = 4


@dataclass
class Buffer:
    """A pinned buffer, the event behind its last copy, and where the copied rows belong."""

    copied: torch.cuda.Event
    rows: torch.Tensor | None = None
    target: torch.Tensor | None = None

    def wait(self) -> None:
        """Wait for the last copy; move what it brought to where it belongs."""
        self.copied.synchronize()
        if self.target is not None:
            self.target.copy_(self.rows[: len(self.target)])
            self.target = None

    def sized(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Pinned memory for that many rows."""
        if self.rows is None or len(self.rows) < shape[0]:
            self.rows = pinned(shape, dtype)
        return self.rows[: shape[0]]


class Staging:
    """Copies rows of one shape and type to and from the device on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = copy_stream(device)
        self._buffers = [Buffer(torch.cuda.Event()) for _ in range(BUFFERS)]
        self._copies = 0

    def to_device(self, rows: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Those rows [B, …] on the device; does not wait for it.

        Waits only if BUFFERS copies are under way.
        """
        buffer = self._next()
        gathered = buffer.sized((len(indices), *rows.shape[1:]), rows.dtype)
        torch.index_select(rows, 0, indices, out=gathered)
        now = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copied = gathered.to(self._device, non_blocking=True)
            buffer.copied.record()
        now.wait_event(buffer.copied)
        copied.record_stream(now)
        return copied

    def to_host(self, values: torch.Tensor, target: torch.Tensor) -> None:
        """Copy values from the device to the rows `target`, which have them after `finish`."""
        buffer = self._next()
        staged = buffer.sized(target.shape, target.dtype)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            staged.copy_(values, non_blocking=True)
            buffer.copied.record()
        values.record_stream(self._stream)
        buffer.target = target

    def finish(self) -> None:
        """Wait for all copies."""
        for buffer in self._buffers:
            buffer.wait()

    def _next(self) -> Buffer:
        buffer = self._buffers[self._copies % BUFFERS]
        self._copies += 1
        buffer.wait()
        return buffer


@cache
def copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def pinned(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)
