"""The user's home folder in paths. No torch."""

import os
from pathlib import Path

from fobench.errors import UserError


def expand_user(path: str | Path) -> Path:
    """The path with `~` or `~name` at its start replaced by a home folder.

    Raises UserError if there is no such folder: a folder that is named `~` is never meant.
    """
    expanded = os.path.expanduser(path)  # noqa: PTH111 (Path.expanduser raises a RuntimeError)
    if not expanded.startswith("~"):
        return Path(expanded)
    user = expanded.partition(os.sep)[0]
    if user == "~":
        raise UserError(
            f"{path}: this user has no home folder, neither in HOME nor in the system's list of "
            "users: set HOME, or give a path without ~"
        )
    raise UserError(
        f"{path}: there is no user {user[1:]} with a home folder: correct the name, or write "
        f"./{path} if the path itself begins with ~"
    )
