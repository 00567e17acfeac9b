"""Locks: a timed run has its machine to itself, untimed ones share it; one process per run."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fobench.errors import UserError
from fobench.machine.home import expand_user
from fobench.machine.interruption import Deadline

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
FOR_ALL_USERS = 0o666
FILE = ".lock"  # in a folder that is locked, while it is


def lock_path() -> Path:
    """The lock file: $FOBENCH_LOCK, else one that all users of the machine share.

    Not in $TMPDIR, which can differ between jobs.
    """
    return expand_user(os.environ.get("FOBENCH_LOCK") or "/tmp/fobench.lock")


class MachineLock:
    """The lock of the machine, held exclusively or shared with other processes that share it.

    Waiting raises Stopped if the deadline comes first, and UserError if `wait` is false.
    """

    def __init__(self, path: Path, wait: bool, deadline: Deadline) -> None:
        self.path = path
        self._wait, self._deadline = wait, deadline
        self._descriptor: int | None = None
        self._shared = False

    def acquire(self, shared: bool) -> None:
        """Take it, waiting for processes that hold it otherwise."""
        self._shared = shared
        if self._try(shared):
            return
        if not self._wait:
            what = "is timing" if shared else "trains"
            raise UserError(
                f"another `fobench run` {what} on this machine: try again when it is done, or "
                "leave out --no-wait"
            )
        log.info("waiting for another `fobench run` on this machine (%s)", self.path)
        while not self._try(shared):
            self._deadline.require_time()
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def alone_if_free(self) -> Iterator[bool]:
        """Hold it exclusively in the block, for what is measured, unless others share it now.

        Yields whether it is held so.
        """
        if not self._shared:
            yield True
            return
        # Let go in between: it cannot be exchanged in one go.
        self.release()
        alone = self._try(shared=False)
        try:
            if not alone:
                self.acquire(shared=True)
            yield alone
        finally:
            if alone:
                self.release()
                self.acquire(shared=True)

    def _try(self, shared: bool) -> bool:
        try:
            descriptor = open_for_all(self.path)
            try:
                # A file that was removed meanwhile locks nothing.
                locked = try_lock(descriptor, shared) and os.fstat(descriptor).st_nlink > 0
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be locked ({error.strerror}): set FOBENCH_LOCK to a file on a "
                "disk of this machine that all its users can write"
            ) from error
        if locked:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return locked


@contextmanager
def machine_lock(
    wait: bool = True, deadline: Deadline | None = None, shared: bool = False
) -> Iterator[MachineLock]:
    """Lock the machine for the block; the lock is released when the process ends, however it ends.

    With `shared`, other processes that share it may hold it too, but none that does not.

    Raises UserError if another process holds it and `wait` is false, or if the file cannot be
    locked; Stopped if the deadline comes first.
    """
    path = lock_path().resolve()
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder: set FOBENCH_LOCK to a file in one")
    machine = MachineLock(path, wait, deadline or Deadline(None))
    machine.acquire(shared)
    try:
        yield machine
    finally:
        machine.release()


def open_for_all(path: Path) -> int:
    """Open a file that every user can lock; it is made if it is not there. Raises OSError."""
    # Where all can write, Linux may refuse O_CREAT for a file that another user made.
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FOR_ALL_USERS)
    with suppress(PermissionError):  # another user was faster
        os.fchmod(descriptor, FOR_ALL_USERS)
    return descriptor


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Lock an open file or folder; false if another process holds it. Raises OSError."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold_folder(folder: Path) -> int | None:
    """Lock a folder, by the file FILE in it: a descriptor for `release_folder`, or None if another
    process holds it.

    Not the folder itself: NFS and Lustre lock folders on one machine only, without an error.

    Raises OSError if it cannot be locked.
    """
    path = folder / FILE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FOR_ALL_USERS)
        try:
            locked = try_lock(descriptor)
            if locked and is_at(path, descriptor):
                return descriptor
        except OSError as error:
            if error.errno != errno.ESTALE:
                # Where nothing can be locked, nobody holds it.
                release_folder(folder, descriptor)
                raise
            locked = True  # on NFS, of a file that another machine has removed
        os.close(descriptor)
        if not locked:
            return None
        # What was locked had been removed meanwhile.


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one at that path, and not one that was removed from there.

    NFS keeps files that are removed while they are open, so their links say nothing.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def release_folder(folder: Path, descriptor: int) -> None:
    """Remove the file that was locked, while it still is, and let it go."""
    path = folder / FILE
    try:
        with suppress(OSError):
            if is_at(path, descriptor):
                path.unlink()
    finally:
        os.close(descriptor)


def remove_left_lock(folder: Path) -> None:
    """Remove the file that a process left which was killed while it held the folder."""
    if (folder / FILE).exists():
        with run_lock(folder):
            pass


@contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Lock a run's folder for the block; yields false if another process trains this run.

    Raises UserError if it cannot be locked.
    """
    try:
        descriptor = hold_folder(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be locked ({error.strerror}): give another --results folder"
        ) from error
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            release_folder(folder, descriptor)
