"""Scratch folders of downloads, and those that killed downloads left behind.

A process locks a file in its scratch folder while it lives; how it ends does not matter. A scratch
folder that can be locked is therefore a leftover.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fobench.machine.lock import hold_folder

SUFFIX = "[a-z0-9_]{8}"  # of tempfile.mkdtemp


@contextmanager
def scratch_folder(root: Path, name: str) -> Iterator[Path]:
    """A new folder in `root` for the block, removed after it. Raises OSError."""
    folder, lock = new_folder(root, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def new_folder(root: Path, name: str) -> tuple[Path, int | None]:
    """A folder and its lock, None on a file system without locks. Raises OSError."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=root, prefix=f".{name}-"))
        try:
            lock = hold(folder)
        except OSError:
            # No process can lock it, so none takes it for a leftover.
            return folder, None
        # Before this process held it, another could take it for a leftover.
        if lock is not None:
            return folder, lock


def leftovers(root: Path, names: Iterable[str]) -> Iterator[Path]:
    """The scratch folders of sets that no process uses, each locked until the next is asked for."""
    pattern = re.compile(rf"\.({'|'.join(map(re.escape, names))})-{SUFFIX}")
    for folder in sorted(root.glob(".*-*")):
        if not pattern.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        # What cannot be locked, such as another user's, stays.
        lock = None
        with suppress(OSError):
            lock = hold(folder)
        if lock is not None:
            try:
                yield folder
            finally:
                os.close(lock)


def remove_leftovers(root: Path, names: Iterable[str]) -> None:
    for folder in leftovers(root, names):
        shutil.rmtree(folder, ignore_errors=True)


def hold(folder: Path) -> int | None:
    """The lock of a folder, as a descriptor to close; None if another process holds or removes it.

    Raises OSError if it cannot be locked.
    """
    try:
        return hold_folder(folder)
    except FileNotFoundError:
        return None


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    sizes = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            # Another process can remove it meanwhile.
            with suppress(OSError):
                sizes += (Path(parent) / file).stat().st_size
    return sizes
