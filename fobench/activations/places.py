"""Places for stores: device memory, host memory, or a scratch file.

The scratch file is unlinked as soon as it is created, so it vanishes with the process.
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
from fobench.machine.ranks import current

Shape = tuple[int, ...]
HOST = torch.device("cpu")
MEMORY_RESERVE = 0.25  # share of all memory that stores leave free
DISK_RESERVE = 0.1  # share of the disk; less than of memory, as disks are often nearly full
SAMPLE_BYTES = 256 << 20

_runs_at_once = 1


class NoRoomError(Exception):
    """There is no room for a store."""


def on_device(shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    require_room(room_in_memory(device), shape, dtype)
    with out_of_memory_as_no_room():
        return torch.empty(shape, dtype=dtype, device=device)


def on_host(shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # Linux overcommits memory, so a store that does not fit must be refused here. Not pinned: reads
    # go through pinned memory, and torch rounds pinned allocations up, to twice the size.
    require_room(room_of_process(room_in_memory(HOST)), shape, dtype)
    with out_of_memory_as_no_room():
        return torch.empty(shape, dtype=dtype)


@contextmanager
def out_of_memory_as_no_room() -> Iterator[None]:
    """Turn an out-of-memory error in the block into a NoRoomError."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise NoRoomError(str(error).partition("\n")[0]) from error
        raise


def in_scratch_file(shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    size = require_room(room_of_process(room_on_disk()), shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="fobench-") as file:
            # On a full disk, touching an unallocated block would kill the process (SIGBUS).
            allocate_blocks(file, size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise NoRoomError(f"{scratch_folder()}: {error.strerror}") from error
    return torch.frombuffer(mapped, dtype=dtype).view(shape)


def allocate_blocks(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    chunk = bytes(1 << 20)
    for start in range(0, size, len(chunk)):
        file.write(chunk[: size - start])
    file.flush()


def share_room(runs: int) -> None:
    """Divide the host's memory and disk among that many processes, each of which trains a run."""
    global _runs_at_once
    _runs_at_once = runs


def room_of_process(room: int) -> int:
    """A process's share of the host's memory or disk, divided by runs at once, ranks on this host.

    Divided, as memory that others allocated counts as free until they write to it.
    """
    return room // (_runs_at_once * current().on_this_host)


def require_room(room: int, shape: Shape, dtype: torch.dtype) -> int:
    """The size of a store in bytes. Raises NoRoomError if there is less room."""
    size = torch.Size(shape).numel() * dtype.itemsize
    if size > room:
        raise NoRoomError(f"{size:,} bytes are more than the {room:,} that the reserve leaves")
    return size


def room_in_memory(device: torch.device) -> int:
    """Free bytes of the device's memory, less the reserve."""
    free, total = available_memory(device)
    return max(0, int(free - MEMORY_RESERVE * total))


def room_on_disk() -> int:
    """Free bytes of the scratch folder's disk, less the reserve; 0 if it is in memory (tmpfs)."""
    try:
        folder = scratch_folder()
        total, _, free = shutil.disk_usage(folder)
    except OSError:  # no writable folder
        return 0
    if is_memory(folder):
        return 0
    return max(0, int(free - DISK_RESERVE * total))


def scratch_folder() -> Path:
    return Path(tempfile.gettempdir())


@dataclass(frozen=True)
class PlaceOperations:
    """How a place allocates a store, and how many bytes it has for stores.

    `sample_bytes` is the maximum size of the store that shows how fast the place is. If
    `reuses_memory`, torch keeps what a store leaves for the next one, so that allocating is no part
    of writing a store; elsewhere the system gives each store new pages while it is written.
    """

    allocate: Callable[[Shape, torch.dtype, torch.device], torch.Tensor]
    room: Callable[[torch.device], int]
    sample_bytes: int = SAMPLE_BYTES
    reuses_memory: bool = False


# Fastest first.
PLACES = {
    # GPUs have caches of 50 MB and more, which must not hold much of the sample.
    "device memory": PlaceOperations(on_device, room_in_memory, 4 << 30, reuses_memory=True),
    "host memory": PlaceOperations(on_host, lambda device: room_of_process(room_in_memory(HOST))),
    "scratch file": PlaceOperations(
        in_scratch_file, lambda device: room_of_process(room_on_disk())
    ),
}


def places_for(device: torch.device) -> list[str]:
    """The places for a device, fastest first. For the CPU, device memory is host memory."""
    return [name for name in PLACES if device.type != "cpu" or name != "device memory"]
