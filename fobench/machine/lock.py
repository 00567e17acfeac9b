"""Locks: one timed run a machine, as two would spoil each other's times; one process a run."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fobench.errors import UserError
from fobench.machine.stopping import Deadline

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
FOR_ALL_USERS = 0o666


def lock_path() -> Path:
    """The file that is locked: $FOBENCH_LOCK, else one that all users of the machine share.

    Not in $TMPDIR, which may be another for each job.
    """
    return Path(os.environ.get("FOBENCH_LOCK") or "/tmp/fobench.lock")


@contextmanager
def machine_lock(wait: bool = True, deadline: Deadline | None = None) -> Iterator[None]:
    """Hold the machine for the block; the lock dies with its holder, however that ends.

    Raises UserError where another process holds it and `wait` is false, or where the file cannot
    be locked; Stopped where the deadline comes first.
    """
    path = lock_path()
    lock = FileLock(path, mode=FOR_ALL_USERS)
    if not acquired(lock):
        if not wait:
            raise UserError(
                "another `fobench run` is timing on this machine: try again when it is done, "
                "or leave out --no-wait"
            )
        log.info("waiting for another `fobench run` on this machine (%s)", path)
        while not acquired(lock):
            (deadline or Deadline(None)).require_time()
            time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def acquired(lock: FileLock) -> bool:
    """Lock a file, if nobody else has. Raises UserError where that cannot be."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:
        raise UserError(
            f"{lock.lock_file} cannot be locked ({error.strerror}): set FOBENCH_LOCK to a file on "
            "a disk of this machine that all its users can write"
        ) from error
    return True


def is_locked_now(descriptor: int) -> bool:
    """Lock an open file or folder, if nobody else has. Raises OSError where that cannot be."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Hold a run's folder for the block; false where another process trains this run.

    The folder itself is locked, so that nothing of the lock's stays behind among the results; a
    library that locks folders is not known. Network file systems lock files only: there `.lock` in
    the folder is.

    Raises UserError where neither can be locked.
    """
    try:
        holder = os.open(folder, os.O_RDONLY)
        try:
            locked = is_locked_now(holder)
        except OSError:
            os.close(holder)
            holder = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            locked = is_locked_now(holder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be locked ({error.strerror}): give a --results folder where it can"
        ) from error
    try:
        yield locked
    finally:
        os.close(holder)
