"""A run's state on the disk, so that whatever ends the process, the run goes on exactly.

Two are kept, the last and the one before: `checkpoint.pt` and `checkpoint.previous.pt`. A file is
what `torch.save` writes, so that `torch.load` reads it; behind it, the SHA-256 of all that and a
line that marks the file as whole.
"""

import hashlib
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from fobench.errors import UserError
from fobench.records.files import exists, move, remove

log = logging.getLogger(__name__)

FORMAT = 2
END_MARK = b"\nfobench checkpoint\n"
TRAILER_BYTES = hashlib.sha256().digest_size + len(END_MARK)
LAST, PREVIOUS, NEW = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.new.pt"
CHUNK = 1 << 20


class DamagedError(Exception):
    """A file that is no whole checkpoint."""


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; the last one is kept until the new one has been read back.

    Raises UserError where it cannot be written.
    """
    new, last = folder / NEW, folder / LAST
    try:
        with new.open("wb") as file:
            write({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        if not is_whole(new):
            raise UserError(f"{new} is not as it was written: see to the disk")
        settle(folder)
    except OSError as error:
        raise UserError(f"{last} cannot be written ({error.strerror}): see to the disk") from error
    finally:
        # Half a checkpoint would take the room that a full disk still has for the rows.
        with suppress(OSError):
            new.unlink(missing_ok=True)


def settle(folder: Path) -> None:
    """Put the new checkpoint in the last one's place, and that in the place of the one before."""
    if exists(folder / LAST):
        move(folder / LAST, folder / PREVIOUS)
    move(folder / NEW, folder / LAST)


def write(content: dict[str, Any], file: BinaryIO) -> None:
    hashed = Hashed(file)
    try:
        torch.save(content, hashed)
    except Exception:
        # Torch's writer tells of a failed write in words of its own.
        if hashed.error is None:
            raise
    if hashed.error is not None:
        raise hashed.error
    file.write(hashed.sha256.digest() + END_MARK)


class Hashed:
    """A file to write to, and the hash of all that is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, content: bytes) -> int:
        """Write; from the first error on only remember it, as torch's writer would lose it."""
        if self.error is None:
            try:
                self.sha256.update(content)
                self._file.write(content)
            except BaseException as error:
                self.error = error
        return len(content)

    def flush(self) -> None:
        """Done when the file is closed."""


def is_whole(path: Path) -> bool:
    sha256, left = hashlib.sha256(), path.stat().st_size - TRAILER_BYTES
    if left < 0:
        return False
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                return False
            sha256.update(chunk)
            left -= len(chunk)
        return file.read() == sha256.digest() + END_MARK


def read(path: Path) -> dict[str, Any]:
    """What was saved, on the CPU.

    Raises DamagedError for a file that is not whole, UserError for one that cannot be read or is of
    another format.
    """
    try:
        if not is_whole(path):
            raise DamagedError(f"{path} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): mend that") from error
    except UnpicklingError as error:
        # Whole, and yet not what fobench saves: something else was put there.
        raise UserError(f"{path} holds more than a checkpoint may: delete it") from error
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"{path} cannot be loaded ({error}): mend that and try again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{path} is of another format than this fobench's ({FORMAT}): use the fobench that "
            "wrote it, or delete it to train the run anew"
        )
    return content


def read_last(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint that is whole; None where there is none. Damaged ones are removed."""
    damaged = False
    for path in (folder / NEW, folder / LAST, folder / PREVIOUS):
        if not exists(path):
            continue
        try:
            content = read(path)
        except DamagedError as error:
            # A new one that is not whole is what a dying process was writing.
            if path.name != NEW:
                log.warning("%s", error)
                damaged = True
            remove(path)
        else:
            if damaged:
                log.warning("going on from %s instead", path)
            if path.name == NEW:
                try:
                    settle(folder)
                except OSError as error:
                    raise UserError(
                        f"{path} cannot be moved ({error.strerror}): see to the disk"
                    ) from error
            return content
    if damaged:
        log.warning("%s: no checkpoint is whole, so the run starts again", folder.name)
    return None


def drop(folder: Path) -> None:
    """Remove the checkpoints of a run."""
    for name in (LAST, PREVIOUS, NEW):
        remove(folder / name)


class Writer:
    """Saves a run's checkpoints at epoch ends, at least `every_seconds` apart."""

    def __init__(self, folder: Path, every_seconds: float, epochs_saved: int) -> None:
        self.epochs_saved = epochs_saved
        self._folder, self._every_seconds = folder, every_seconds
        self._saved_at = time.monotonic()

    def save_if_due(self, epochs: int, content: dict[str, Any], now: bool = False) -> None:
        """Save the state after so many epochs, if it is due, or `now`.

        Where the disk does not take it, the training goes on: the checkpoint before still stands.
        """
        if not now and self.seconds_since < self._every_seconds:
            return
        try:
            save(self._folder, content)
        except UserError as error:
            log.warning("%s; the run goes on without a checkpoint of epoch %d", error, epochs)
            return
        self.epochs_saved, self._saved_at = epochs, time.monotonic()

    @property
    def seconds_since(self) -> float:
        """Since the last checkpoint, or since the start."""
        return time.monotonic() - self._saved_at
