"""Checkpoints, from which a run resumes exactly, however its process ended.

Two are kept: `checkpoint.pt` and `checkpoint.previous.pt`. A file is the output of `torch.save`,
readable by `torch.load`, followed by its SHA-256 and an end mark.
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

FORMAT = 3
END_MARK = b"\nfobench checkpoint\n"
TRAILER_BYTES = hashlib.sha256().digest_size + len(END_MARK)
LAST, PREVIOUS, NEW = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.new.pt"
CHUNK = 1 << 20
MOVE_AWAY = "move it away to start the run again"


class DamagedError(Exception):
    """A checkpoint is truncated or changed."""


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, and replace the last one once the new one is verified.

    Raises UserError if it cannot be written.
    """
    new, last = folder / NEW, folder / LAST
    try:
        with new.open("wb") as file:
            write({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        if not is_intact(new):
            raise UserError(f"{new} differs from what was written: check the disk")
        promote(folder)
    except OSError as error:
        raise UserError(f"{last} cannot be written ({error.strerror}): check the disk") from error
    finally:
        # A partial checkpoint would take the last room of a full disk, which epochs.csv needs.
        with suppress(OSError):
            new.unlink(missing_ok=True)


def promote(folder: Path) -> None:
    """Make the new checkpoint the last one, and the last one the previous one."""
    if exists(folder / LAST):
        move(folder / LAST, folder / PREVIOUS)
    move(folder / NEW, folder / LAST)


def write(content: dict[str, Any], file: BinaryIO) -> None:
    hashed = HashingWriter(file)
    try:
        torch.save(content, hashed)
    except Exception:
        # Torch's writer hides the original error of a failed write.
        if hashed.error is None:
            raise
    if hashed.error is not None:
        raise hashed.error
    file.write(hashed.sha256.digest() + END_MARK)


class HashingWriter:
    """Writes to a file and hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, content: bytes) -> int:
        """Write. Keeps the first error, which torch would lose, and ignores later writes."""
        if self.error is None:
            try:
                self.sha256.update(content)
                self._file.write(content)
            except BaseException as error:
                self.error = error
        return len(content)

    def flush(self) -> None:
        """Does nothing; the file is flushed by `save`."""


def is_intact(path: Path) -> bool:
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
    """Load a checkpoint to the CPU.

    Raises DamagedError for a damaged file, UserError for one that cannot be read or has another
    format.
    """
    try:
        if not is_intact(path):
            raise DamagedError(f"{path} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): fix that") from error
    except UnpicklingError as error:
        # Intact but not saved by fobench.
        raise UserError(f"{path} is not a checkpoint of fobench: {MOVE_AWAY}") from error
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"{path} cannot be loaded ({error}): fix that and try again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{path} is not of this version's format ({FORMAT}): use the version of fobench that "
            f"wrote it, or {MOVE_AWAY}"
        )
    return content


def read_last(folder: Path) -> dict[str, Any] | None:
    """The last intact checkpoint; None if there is none. Damaged ones are removed."""
    damaged = False
    for path in (folder / NEW, folder / LAST, folder / PREVIOUS):
        if not exists(path):
            continue
        try:
            content = read(path)
        except DamagedError as error:
            # A damaged new one is expected: a process died while writing it.
            if path.name != NEW:
                log.warning("%s", error)
                damaged = True
            remove(path)
        else:
            if damaged:
                log.warning("resuming from %s instead", path)
            if path.name == NEW:
                try:
                    promote(folder)
                except OSError as error:
                    raise UserError(
                        f"{path} cannot be moved ({error.strerror}): check the disk"
                    ) from error
            return content
    if damaged:
        log.warning("%s: no checkpoint is intact, so the run starts again", folder.name)
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
        """Save the state after `epochs` epochs, if due, or if `now`.

        If saving fails, training continues, and the earlier checkpoint is kept.
        """
        if not now and self.seconds_since < self._every_seconds:
            return
        try:
            save(self._folder, content)
        except UserError as error:
            log.warning("%s; training continues without a checkpoint of epoch %d", error, epochs)
            return
        self.epochs_saved, self._saved_at = epochs, time.monotonic()

    @property
    def seconds_since(self) -> float:
        """Seconds since the last checkpoint, or since the start."""
        return time.monotonic() - self._saved_at
