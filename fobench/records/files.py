"""Looking at files and replacing them, each as a whole."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from fobench.errors import UserError


def exists(path: Path) -> bool:
    """Whether there is such a file. Raises UserError where that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be looked at ({reason}): mend that, or give another path"
        ) from error
    return True


def make_folder(folder: Path) -> None:
    """Raises UserError where it cannot be made, or nothing can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise UserError(f"{folder} cannot be written ({reason}): mend that, or give another folder")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole, and not before the new content is on the disk.

    Raises UserError where that fails; the old file then is as it was. The folder is not made: one
    that has vanished may be a disk that is no longer there.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            move(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): see to the disk and its permissions, "
            "or give another folder"
        ) from error


def move(source: Path, target: Path) -> None:
    """Put a file in another's place, on the disk too."""
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        # Some file systems cannot flush a folder; they lose no more than the last move.
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Raises UserError for a file that is there and cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be removed ({error.strerror}): do so by hand") from error


def write_json(path: Path, content: Any) -> None:
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete it, and `fobench run` makes it anew"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no table: delete it, and `fobench run` makes it anew")
    return content
