"""A file that stays open while it is used: it may be replaced meanwhile, but not written to."""

import os
import weakref
from pathlib import Path
from typing import Any, BinaryIO

from fobench.errors import UserError

Stamp = tuple[int, int]


class OpenFile:
    """A file, open for reading at any place, from any thread.

    If another file is moved to its path, as fobench does when it prepares one anew, the one that
    was opened is still read. If it is written to, that is noticed.

    An instance can be sent to other processes, which open the file by its path.

    Attributes:
        stamp: size and time of the last change when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        self.stamp = stamp_of(os.fstat(self._descriptor))

    def __reduce__(self) -> tuple[Any, ...]:
        return reopened, (self.path, self.stamp)

    @property
    def identity(self) -> tuple[int, ...]:
        """What tells another file apart, even where all have one size and one time of change.

        Other hard links and rights change it, too, so it is nothing that must stay during a run.
        """
        status = os.fstat(self._descriptor)
        return (*stamp_of(status), status.st_ctime_ns, status.st_ino)

    def reader(self) -> BinaryIO:
        """The file for libraries, to be closed; its position is shared with other readers."""
        return os.fdopen(os.dup(self._descriptor), "rb")

    def read_at(self, place: int, out: memoryview) -> None:
        """Fill `out` with the bytes from that place on.

        Raises UserError if the file has become shorter, or cannot be read.
        """
        try:
            while len(out):
                count = os.preadv(self._descriptor, [out], place)
                if not count:
                    raise changed(self.path)
                place, out = place + count, out[count:]
        except OSError as error:
            raise unreadable(self.path, error) from error

    def require_unchanged(self) -> None:
        """Raises UserError if the file was written to since it was opened."""
        if stamp_of(os.fstat(self._descriptor)) != self.stamp:
            raise changed(self.path)


def reopened(path: Path, stamp: Stamp) -> OpenFile:
    """The file in another process. Raises UserError if it is not there any more as it was."""
    try:
        file = OpenFile(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if file.stamp != stamp:
        raise changed(path)
    return file


def stamp_of(status: os.stat_result) -> Stamp:
    """Size and time of the last change of a file, by which a changed one is noticed."""
    return status.st_size, status.st_mtime_ns


def changed(path: Path) -> UserError:
    return UserError(
        f"{path} was changed while it was used: leave it as it is during a run, and give the same "
        "command again"
    )


def unreadable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be read ({error.strerror}): check the disk, and give the same command again"
    )
