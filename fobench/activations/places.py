"""Where stores may lie: the device's memory, else the host's, else a scratch file.

The scratch file has no name from the moment it is made, so it is gone when the process is, however
that ends.
"""

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from fobench.machine.memory import available_memory, is_memory, is_out_of_memory

Shape = tuple[int, ...]
HOST = torch.device("cpu")
MEMORY_RESERVE = 0.25  # of all memory, that stores leave free
DISK_RESERVE = 0.1  # of the disk; it may hold much else, a quarter of it is often not free


class NoRoomError(Exception):
    """There is no room for a store."""


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


def scratch_folder() -> Path:
    return Path(tempfile.gettempdir())


@dataclass(frozen=True)
class PlaceOperations:
    """How a store is allocated in a place, and how many bytes there are for stores."""

    allocate: Callable[[Shape, torch.dtype, torch.device], torch.Tensor]
    room: Callable[[torch.device], int]


# The nearest first.
PLACES = {
    "device memory": PlaceOperations(on_device, room_in_memory),
    "host memory": PlaceOperations(on_host, lambda device: room_in_memory(HOST)),
    "scratch file": PlaceOperations(in_scratch_file, lambda device: room_on_disk()),
}


def places_for(device: torch.device) -> list[str]:
    """The places there are beside a device. The CPU's memory is the host's."""
    return [name for name in PLACES if device.type != "cpu" or name != "device memory"]
