"""Looking at files and replacing them."""

import os
from pathlib import Path

from fobench.errors import UserError


def is_there(path: Path) -> bool:
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


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole, and not before the new content is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
