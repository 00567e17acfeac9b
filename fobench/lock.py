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


@contextmanager
def machine_lock(wait: bool = True) -> Iterator[None]:
    """Hold the machine for the block; the lock dies with its holder, however that ends.

    Raises UserError where another process holds it and `wait` is false, or where the file cannot
    be opened.
    """
    path = lock_path()
    try:
        # Readable is enough to lock, so that another user's file will do.
        holder = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}): set FOBENCH_LOCK") from error
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
