"""Locks: one timed run a machine, as two would spoil each other's times; one process a run."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fobench.errors import UserError
from fobench.stopping import Deadline

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


def lock_path() -> Path:
    """The file that is locked: $FOBENCH_LOCK, else one that all users of the machine share.

    Not in $TMPDIR, which may be another for each job.
    """
    return Path(os.environ.get("FOBENCH_LOCK") or "/tmp/fobench.lock")


def open_to_lock(path: Path) -> int:
    """Open the file, making it where there is none; to read is enough to lock."""
    try:
        try:
            # Without O_CREAT first: Linux refuses it for another user's file in a shared folder.
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}): set FOBENCH_LOCK to a file that all "
            "users of this machine can read"
        ) from error


def is_locked_now(descriptor: int) -> bool:
    """Lock an open file or folder, if nobody else has. Raises OSError where that cannot be."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def machine_lock(wait: bool = True, deadline: Deadline | None = None) -> Iterator[None]:
    """Hold the machine for the block; the lock dies with its holder, however that ends.

    Raises UserError where another process holds it and `wait` is false, or where the file cannot
    be opened; Stopped where the deadline comes first.
    """
    path = lock_path()
    holder = open_to_lock(path)
    try:
        if not is_locked_now(holder):
            if not wait:
                raise UserError(
                    "another `fobench run` is timing on this machine: try again when it is done, "
                    "or leave out --no-wait"
                )
            log.info("waiting for another `fobench run` on this machine (%s)", path)
            while not is_locked_now(holder):
                (deadline or Deadline(None)).require_time()
                time.sleep(POLL_SECONDS)
    except OSError as error:
        os.close(holder)
        raise UserError(
            f"{path} cannot be locked ({error.strerror}): set FOBENCH_LOCK to a file on a disk of "
            "this machine"
        ) from error
    except BaseException:
        os.close(holder)
        raise
    try:
        yield
    finally:
        os.close(holder)


@contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Hold a run's folder for the block; false where another process trains this run.

    The folder itself is locked, so that nothing of the lock's stays behind. Network file systems
    lock files only: there `.lock` in the folder is.

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
