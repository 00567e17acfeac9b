"""One timed run a machine: two beside each other would spoil each other's times."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fobench.errors import UserError

log = logging.getLogger(__name__)


def lock_path() -> Path:
    """The file that is locked: $FOBENCH_LOCK, else one that all users of the machine share."""
    return Path(os.environ.get("FOBENCH_LOCK") or Path(tempfile.gettempdir()) / "fobench.lock")


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


@contextmanager
def machine_lock(wait: bool = True) -> Iterator[None]:
    """Hold the machine for the block; the lock dies with its holder, however that ends.

    Raises UserError where another process holds it and `wait` is false, or where the file cannot
    be opened.
    """
    path = lock_path()
    holder = open_to_lock(path)
    try:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise UserError(
                    "another `fobench run` is timing on this machine: try again when it is done, "
                    "or leave out --no-wait"
                ) from None
            log.info("waiting for another `fobench run` on this machine (%s)", path)
            fcntl.flock(holder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(holder)
