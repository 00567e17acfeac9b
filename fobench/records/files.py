"""Checking, reading and atomically replacing files."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from fobench.errors import UserError

# What is damaged may still hold what somebody needs, so it is never to be deleted.
RESTORE = "restore it from a copy, or move it away: `fobench run` makes it again"


def exists(path: Path) -> bool:
    """Whether a file or folder exists. Raises UserError if that cannot be determined."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be accessed ({reason}): fix that, or give another path"
        ) from error
    return True


def make_folder(folder: Path) -> None:
    """Create a folder if needed. Raises UserError if that fails or the folder is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise UserError(f"{folder} cannot be written ({reason}): fix that, or give another folder")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically, once the new content is on disk.

    A link stays one, to a new file. Raises UserError if that fails; the old file is then unchanged.
    The folder is not created: if it has vanished, a disk may have been unmounted.
    """
    replace_bytes(path, content, flush=True)


def replace_bytes(path: Path, content: bytes, flush: bool = False) -> None:
    """Replace a file like `write_bytes`, but only with `flush` wait for the disk."""
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
            (move if flush else Path.replace)(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): check the disk and its permissions, "
            "or give another folder"
        ) from error


def move(source: Path, target: Path) -> None:
    """Move a file over another, and flush the folder to disk."""
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        # Some file systems cannot flush a folder; on those, a crash can lose the last move.
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Remove a file if it exists. Raises UserError if that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be removed ({error.strerror}): remove it by hand"
        ) from error


def write_json(path: Path, content: Any) -> None:
    write_bytes(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path, remedy: str = RESTORE) -> dict[str, Any]:
    """Raises UserError with the remedy for a file that cannot be read."""
    try:
        content = json.loads(read_bytes(path, remedy))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object: {remedy}")
    return content


def read_bytes(path: Path, remedy: str = RESTORE) -> bytes:
    """Raises UserError for a file that cannot be read, with the remedy if it does not exist."""
    try:
        return path.read_bytes()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            remedy = "check the disk and its permissions"
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
