"""Where activations are kept: what is written is read, and what does not fit is refused."""

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from fobench.activations import places
from fobench.activations.places import NoRoomError, places_for, room_in_memory, room_on_disk
from fobench.activations.store import DTYPES, Store
from fobench.machine import cgroup, memory
from fobench.machine.memory import available_memory, is_memory, peak_memory

CPU = torch.device("cpu")
PLACES = places_for(CPU)


def filled(place: str, dtype: torch.dtype, values: torch.Tensor) -> Store:
    kept = Store(len(values), values, dtype, place, CPU)
    for start in range(0, len(values), 4):
        kept.write(start, values[start : start + 4])
    return kept


def test_the_memory_of_a_processor_is_the_hosts():
    assert PLACES == ["host memory", "scratch file"]
    assert places_for(torch.device("cuda")) == ["device memory", *PLACES]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(10, 3, 8, 6), (10, 7, 1, 1), (10, 5)])
def test_rows_are_read_in_any_order_rounded_to_the_stores_type(place, dtype, shape):
    values = torch.randn(shape)
    if len(shape) == 4:
        values = values.to(memory_format=torch.channels_last)
    kept = filled(place, DTYPES[dtype], values)
    indices = torch.tensor([9, 0, 3, 3])
    read = kept.read(indices)
    assert torch.equal(read, values[indices].to(DTYPES[dtype]).float())
    assert read.dtype == torch.float32
    assert read.stride() == values[indices].stride(), "the layout that the units would compute in"
    assert kept.bytes == values.numel() * DTYPES[dtype].itemsize


def test_what_is_read_is_a_copy_that_a_unit_may_change():
    kept = filled("host memory", torch.float32, torch.ones(4, 2, 3, 3))
    kept.read(torch.arange(4)).zero_()
    assert kept.read(torch.arange(4)).eq(1).all()


def test_a_scratch_file_has_no_name(tmp_path, monkeypatch):
    """So nothing is left of it when the process is gone, however that ended."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = filled("scratch file", torch.float32, torch.randn(8, 3))
    assert kept.bytes == 96
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", PLACES)
def test_what_would_eat_into_the_reserve_is_refused(place, monkeypatch):
    monkeypatch.setattr(places, "room_in_memory", lambda device: 95)
    monkeypatch.setattr(places, "room_on_disk", lambda: 95)
    with pytest.raises(NoRoomError, match="96 bytes are more than the 95 that the reserve leaves"):
        Store(8, torch.randn(1, 3), torch.float32, place, CPU)


@pytest.mark.parametrize(("free", "room"), [(50, 25), (20, 0)])
def test_a_quarter_of_the_memory_stays_free(free, room, monkeypatch):
    monkeypatch.setattr(places, "available_memory", lambda device: (free, 100))
    assert room_in_memory(CPU) == room


@pytest.mark.parametrize(("free", "room"), [(50, 40), (9, 0)])
def test_a_tenth_of_the_disk_stays_free(free, room, monkeypatch):
    monkeypatch.setattr(places, "is_memory", lambda folder: False)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda folder: (100, 100 - free, free))
    assert room_on_disk() == room


def test_memory_that_is_refused_is_no_room(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(NoRoomError, match="can't allocate memory"):
        Store(8, torch.zeros(1, 3), torch.float32, "host memory", CPU)


def test_another_error_of_the_allocator_is_not_hidden(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(RuntimeError, match="something else"):
        Store(8, torch.zeros(1, 3), torch.float32, "host memory", CPU)


def test_a_full_disk_is_no_room(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(NoRoomError, match="No space left on device"):
        Store(8, torch.randn(1, 3), torch.float32, "scratch file", CPU)


def test_a_scratch_folder_that_is_memory_is_no_disk(monkeypatch):
    monkeypatch.setattr(places.shutil, "disk_usage", lambda folder: (100, 0, 100))
    monkeypatch.setattr(places, "is_memory", lambda folder: True)
    assert room_on_disk() == 0


def test_where_no_folder_can_be_written_there_is_no_disk(monkeypatch):
    def gone():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(places, "scratch_folder", gone)
    assert room_on_disk() == 0


def test_a_file_system_in_memory_is_known(tmp_path, monkeypatch):
    mounts = {"/": "ext4", "/in memory": "tmpfs", "/in memory/disk": "ext4"}

    def partitions(all):
        return [SimpleNamespace(mountpoint=each, fstype=mounts[each]) for each in mounts]

    monkeypatch.setattr(psutil, "disk_partitions", partitions)
    lies = {
        folder: is_memory(Path(folder))
        for folder in ("/tmp", "/in memory", "/in memory/some/where", "/in memory/disk/some")
    }
    assert list(lies.values()) == [False, True, True, False]
    mounts.clear()
    assert not is_memory(tmp_path), "the system says nothing"

    def without_proc(all):
        raise FileNotFoundError

    monkeypatch.setattr(psutil, "disk_partitions", without_proc)
    assert not is_memory(tmp_path)


def test_where_blocks_cannot_be_asked_for_they_are_written(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    values = torch.randn(300_000, 2)  # more than one chunk
    kept = Store(len(values), values, torch.float32, "scratch file", CPU)
    kept.write(0, values)
    assert torch.equal(kept.read(torch.arange(len(values))), values)


def test_runs_at_once_divide_the_room_of_the_host(monkeypatch):
    """Each would see the whole as free, until the others have written to theirs."""
    monkeypatch.setattr(places, "room_in_memory", lambda device: 1000)
    monkeypatch.setattr(places, "room_on_disk", lambda: 1000)
    monkeypatch.setattr(places, "_runs_at_once", 1)
    makers = (places.on_host, places.in_scratch_file)
    for make in makers:
        assert make((1000,), torch.uint8, CPU).numel() == 1000
    places.share_room(4)
    for make in makers:
        assert make((250,), torch.uint8, CPU).numel() == 250
        with pytest.raises(NoRoomError, match="251 bytes are more than the 250"):
            make((251,), torch.uint8, CPU)


def test_a_control_group_limits_the_memory_there_is(monkeypatch):
    monkeypatch.setattr(cgroup, "memory", lambda: None)
    free, total = available_memory(CPU)
    assert 0 < free <= total
    monkeypatch.setattr(cgroup, "memory", lambda: (10**6, 4 * 10**5))
    assert available_memory(CPU) == (6 * 10**5, 10**6)
    monkeypatch.setattr(cgroup, "memory", lambda: (10**6, 10**6 + 1))
    assert available_memory(CPU) == (0, 10**6)
    monkeypatch.setattr(cgroup, "memory", lambda: (2 * total, 0))
    assert available_memory(CPU)[1] == total


def test_the_peak_is_known_without_proc_too(monkeypatch):
    """As on other systems than Linux."""

    def gone(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(memory.Path, "read_text", gone)
    assert peak_memory(CPU) > 0
