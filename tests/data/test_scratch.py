"""Scratch folders: used by one process each, and removed when that is dead."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fobench.data import scratch
from fobench.data.scratch import leftovers, remove_leftovers, scratch_folder, size_of
from fobench.machine import lock

NAMES = ("cifar10", "cifar100")
WAITING = """
import sys
from pathlib import Path
from fobench.data.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "cifar10") as folder:
    (folder / "part").write_bytes(bytes(1000))
    print(folder, flush=True)
    input()
"""


@contextmanager
def in_another_process(root: Path) -> Iterator[tuple[Path, subprocess.Popen]]:
    """A process with a scratch folder, which it leaves when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Path(process.stdout.readline().strip()), process
        finally:
            process.kill()


def test_a_scratch_folder_is_removed_after_its_block(tmp_path):
    with scratch_folder(tmp_path, "cifar10") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".cifar10-")
    with pytest.raises(RuntimeError), scratch_folder(tmp_path, "cifar10"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM])
def test_the_folder_of_a_killed_process_is_a_leftover(tmp_path, killed_by):
    with in_another_process(tmp_path) as (folder, process):
        assert list(leftovers(tmp_path, NAMES)) == []
        remove_leftovers(tmp_path, NAMES)
        assert (folder / "part").exists()
        process.send_signal(killed_by)
        process.wait()
        assert list(leftovers(tmp_path, NAMES)) == [folder]
        assert size_of(folder) == 1000
        remove_leftovers(tmp_path, NAMES)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_of_an_earlier_version_is_a_leftover(tmp_path):
    """It has no file that could be locked."""
    old = tmp_path / ".cifar100-q1w2e_3r"
    old.mkdir()
    remove_leftovers(tmp_path, NAMES)
    assert not old.exists()


def test_nothing_else_is_a_leftover(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".cifar10-linked_0").symlink_to(elsewhere)
    (tmp_path / ".cifar10-00000000").write_text("a file")
    for name in (".mnist-abcdefgh", ".cifar10-mine", ".cifar10", "cifar10-abcdefgh"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    remove_leftovers(tmp_path, NAMES)
    assert sorted(tmp_path.iterdir()) == before
    assert list(elsewhere.iterdir()) == []
    remove_leftovers(tmp_path / "nowhere", NAMES)


def test_a_new_folder_that_another_process_took_for_a_leftover_is_replaced(tmp_path, monkeypatch):
    """Between its creation and its lock."""
    hold, taken = scratch.hold, []

    def too_late(folder):
        if not taken:
            taken.append(folder)
            shutil.rmtree(folder)
        return hold(folder)

    monkeypatch.setattr(scratch, "hold", too_late)
    with scratch_folder(tmp_path, "cifar10") as folder:
        assert folder.is_dir()
        assert folder != taken[0]


def test_a_folder_that_was_removed_before_it_was_held_is_not(tmp_path, monkeypatch):
    folder = tmp_path / "removed"
    folder.mkdir()

    def too_late(descriptor):
        shutil.rmtree(folder)
        return True

    monkeypatch.setattr(lock, "try_lock", too_late)
    before = os.dup(0)
    assert scratch.hold(folder) is None
    after = os.dup(0)
    os.close(before)
    os.close(after)
    assert after == before + 1  # the lock's descriptor is closed


def test_many_at_once_do_not_remove_each_others_folders(tmp_path):
    """Each looks for leftovers, then works in a folder of its own; there are some to remove."""

    def work(number: int) -> None:
        for _ in range(40):
            # Another thread may remove it before `exist_ok` could look.
            with suppress(FileExistsError):
                (tmp_path / f".cifar10-left{number:04}").mkdir()
            remove_leftovers(tmp_path, NAMES)
            with scratch_folder(tmp_path, "cifar10") as folder:
                (folder / "part").write_text("x")
                assert (folder / "part").read_text() == "x"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    remove_leftovers(tmp_path, NAMES)
    assert list(tmp_path.iterdir()) == []


def test_without_locks_nothing_is_taken_for_a_leftover(tmp_path, monkeypatch):
    """As on some network file systems: a folder may be in use, so it stays."""

    def no_locks(descriptor):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "try_lock", no_locks)
    with scratch_folder(tmp_path, "cifar10") as folder:
        remove_leftovers(tmp_path, NAMES)
        assert list(leftovers(tmp_path, NAMES)) == []
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
