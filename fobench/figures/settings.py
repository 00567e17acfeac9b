"""Matplotlib's settings: its defaults, so that the same results give the same bytes everywhere."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from fobench.errors import UserError

# The user's settings and styles; a file `matplotlibrc` in the working folder counts too.
VARIABLES = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")
OURS = {
    # A `$` in the name of a data set is a `$`.
    "text.parse_math": False,
    # Instead of random ids.
    "svg.hashsalt": "fobench",
}


def import_without_user_settings() -> None:
    """Import matplotlib, in a process of our own, without reading the user's settings.

    It cannot be imported at all if these are invalid, such as a backend that is not installed.
    Raises UserError if there is no temporary folder to hide them behind.
    """
    if "matplotlib" in sys.modules:
        return
    with ExitStack() as stack:
        try:
            empty = stack.enter_context(TemporaryDirectory())
            stack.enter_context(chdir(empty))
        except OSError as error:
            raise UserError(
                f"a temporary folder cannot be used ({error.strerror}): set TMPDIR to one that "
                "can be written, and start in a folder that exists"
            ) from error
        stack.enter_context(environment_of_import(empty))
        import matplotlib

        # Remembers its answer: user styles are not read later either.
        matplotlib.get_configdir()


@contextmanager
def environment_of_import(settings: str) -> Iterator[None]:
    """The environment without the VARIABLES of the user, and with a folder of settings."""
    hidden = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    os.environ["MPLCONFIGDIR"] = settings
    try:
        yield
    finally:
        del os.environ["MPLCONFIGDIR"]
        os.environ.update(hidden)


@contextmanager
def default_settings(others: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Matplotlib's default settings, OURS and others for the block, whatever the user's are."""
    import matplotlib

    # The backend is not restored after the block; without pyplot, none is used.
    defaults = {key: each for key, each in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context({**defaults, **OURS, **(others or {})}):
        yield
