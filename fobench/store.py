"""Activations kept: in the device's memory, else the host's, else in a scratch file.

A store holds a row an image, channels last, in the type it was asked for; it is written in the
order of the images and read in any. The scratch file has no name from the moment it is made, so it
is gone when the process is, however that ends.
"""

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import torch

from fobench.device import available_memory, is_out_of_memory

Shape = tuple[int, ...]
HOST = torch.device("cpu")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
MEMORY_RESERVE = 0.25  # of all memory, that stores leave free
DISK_RESERVE = 0.1  # of the disk; it may hold much else, a quarter of it is often not free


class NoRoomError(Exception):
    """There is no room for a store."""


class Store:
    """Rows of `count` images, each as one of `like` [B, …], in `dtype`, in the place of that name.

    Raises NoRoomError where it does not fit.
    """

    def __init__(
        self, count: int, like: torch.Tensor, dtype: torch.dtype, place: str, device: torch.device
    ) -> None:
        self.device = device
        shape = (count, *rows_of(like).shape[1:])
        self.rows = PLACES[place].allocate(shape, dtype, device)
        self.bytes = self.rows.numel() * self.rows.element_size()

    def write(self, start: int, values: torch.Tensor) -> None:
        """Keep the values [B, …] of the images from `start` on, rounded to the store's type."""
        self.rows[start : start + len(values)].copy_(rows_of(values))

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        """The values of the images `indices` [B], on the CPU, as float32 on the device.

        On a CUDA device nothing waits: rows that lie elsewhere are gathered into pinned memory and
        copied beside the work that is under way.
        """
        if self.rows.device == self.device:
            rows = self.rows[indices.to(self.device, non_blocking=True)]
        else:
            rows = self._copy_aside(indices)
        return values_of(rows.float())

    def _copy_aside(self, indices: torch.Tensor) -> torch.Tensor:
        shape = (len(indices), *self.rows.shape[1:])
        gathered = torch.empty(shape, dtype=self.rows.dtype, pin_memory=True)
        torch.index_select(self.rows, 0, indices, out=gathered)
        stream, now = copying_stream(self.device), torch.cuda.current_stream(self.device)
        with torch.cuda.stream(stream):
            rows = gathered.to(self.device, non_blocking=True)
        now.wait_stream(stream)
        rows.record_stream(now)
        return rows


def rows_of(values: torch.Tensor) -> torch.Tensor:
    """Images [B, C, H, W] as rows [B, H, W, C]; anything else as it is."""
    return values.permute(0, 2, 3, 1) if values.dim() == 4 else values


def values_of(rows: torch.Tensor) -> torch.Tensor:
    """Rows as the units read them: [B, C, H, W], channels last in memory."""
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows


@cache
def copying_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def on_device(shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    require_room(room_in_memory(device), shape, dtype)
    with no_memory_as_no_room():
        return torch.empty(shape, dtype=dtype, device=device)


def on_host(shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # Linux promises memory that it does not have, so what does not fit has to be refused here.
    # Not pinned, as what is read goes through pinned memory, and torch would pin up to the double.
    require_room(room_in_memory(HOST), shape, dtype)
    with no_memory_as_no_room():
        return torch.empty(shape, dtype=dtype)


@contextmanager
def no_memory_as_no_room() -> Iterator[None]:
    """Make memory that gives out in the block a NoRoomError."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise NoRoomError(str(error).partition("\n")[0]) from error
        raise


def in_scratch_file(shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    size = require_room(room_on_disk(), shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="fobench-") as file:
            # Blocks that are not there yet would end the process when they are first touched.
            take_blocks(file, size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise NoRoomError(f"{scratch_folder()}: {error.strerror}") from error
    return torch.frombuffer(mapped, dtype=dtype).view(shape)


def take_blocks(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    chunk = bytes(1 << 20)
    for start in range(0, size, len(chunk)):
        file.write(chunk[: size - start])
    file.flush()


def require_room(room: int, shape: Shape, dtype: torch.dtype) -> int:
    """The bytes of such a store. Raises NoRoomError if there is less room."""
    size = torch.Size(shape).numel() * dtype.itemsize
    if size > room:
        raise NoRoomError(f"{size:,} bytes are more than the {room:,} that the reserve leaves")
    return size


def room_in_memory(device: torch.device) -> int:
    """Bytes of the device's memory that are free beyond the reserve."""
    free, total = available_memory(device)
    return max(0, int(free - MEMORY_RESERVE * total))


def room_on_disk() -> int:
    """Bytes of the scratch folder's disk that are free beyond the reserve; none if it is memory."""
    try:
        folder = scratch_folder()
        total, _, free = shutil.disk_usage(folder)
    except OSError:  # no folder can be written
        return 0
    if is_memory(folder):
        return 0
    return max(0, int(free - DISK_RESERVE * total))


def is_memory(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a folder lies in memory, as far as Linux tells."""
    try:
        lines = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:
        return False
    kinds = {Path(line[1].replace(r"\040", " ")): line[2] for line in lines}
    folder = folder.resolve()
    kind = next((kinds[each] for each in (folder, *folder.parents) if each in kinds), None)
    return kind in ("tmpfs", "ramfs")


def scratch_folder() -> Path:
    return Path(tempfile.gettempdir())


@dataclass(frozen=True)
class PlaceKind:
    """How a store is allocated in a place, and how many bytes there are for stores."""

    allocate: Callable[[Shape, torch.dtype, torch.device], torch.Tensor]
    room: Callable[[torch.device], int]


# The nearest first.
PLACES = {
    "device memory": PlaceKind(on_device, room_in_memory),
    "host memory": PlaceKind(on_host, lambda device: room_in_memory(HOST)),
    "scratch file": PlaceKind(in_scratch_file, lambda device: room_on_disk()),
}


def places_for(device: torch.device) -> list[str]:
    """The places there are beside a device. The CPU's memory is the host's."""
    return [name for name in PLACES if device.type != "cpu" or name != "device memory"]
