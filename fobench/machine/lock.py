"""Locks: one timed run per machine, as two would slow each other down; one process per run."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fobench.errors import UserError
from fobench.machine.home import expand_user
from fobench.machine.interruption import Deadline

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
FOR_ALL_USERS = 0o666


def lock_path() -> Path:
    """The lock file: $FOBENCH_LOCK, else one that all users of the machine share.

    Not in $TMPDIR, which can differ between jobs.
    """
    return expand_user(os.environ.get("FOBENCH_LOCK") or "/tmp/fobench.lock")


@contextmanager
def machine_lock(wait: bool = True, deadline: Deadline | None = None) -> Iterator[None]:
    """Lock the machine for the block; the lock is released when the process ends, however it ends.

    Raises UserError if another process holds it and `wait` is false, or if the file cannot be
    locked; Stopped if the deadline comes first.
    """
    path = lock_path().resolve()
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder: set FOBENCH_LOCK to a file in one")
    # Without flock the library would write a marker file, which outlives a killed process.
    lock = FileLock(path, mode=FOR_ALL_USERS, fallback_to_soft=False)
    if not try_acquire(lock):
        if not wait:
            raise UserError(
                "another `fobench run` is timing on this machine: try again when it is done, "
                "or leave out --no-wait"
            )
        log.info("waiting for another `fobench run` on this machine (%s)", path)
        while not try_acquire(lock):
            (deadline or Deadline(None)).require_time()
            time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def try_acquire(lock: FileLock) -> bool:
    """Lock a file; false if another process holds it. Raises UserError if it cannot be locked."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{lock.lock_file} cannot be locked ({reason}): set FOBENCH_LOCK to a file on a disk "
            "of this machine that all its users can write"
        ) from error
    return True


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder; false if another process holds it. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Lock a run's folder for the block; yields false if another process trains this run.

    The folder itself is locked, so that no lock file stays among the results; no known library
    does that. Network file systems lock files only: there, `.lock` in the folder is locked.

    Raises UserError if neither can be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            locked = try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            locked = try_lock(descriptor)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be locked ({error.strerror}): give another --results folder"
        ) from error
    try:
        yield locked
    finally:
        os.close(descriptor)
