"""Errors that the user can fix, and texts in messages."""

import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

INSTALLED = ("<", *(f"{sysconfig.get_path(each)}/" for each in ("stdlib", "purelib", "platlib")))


class UserError(Exception):
    """A mistake that the user can fix: the message says what is wrong and what to do.

    Several mistakes found at once are reported together, one per line.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def printable(text: str) -> str:
    """A user's text on one line: characters that no screen shows are escaped, as in a literal."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def counted(count: int, noun: str) -> str:
    """Such as "1 run" or "1,200 runs"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def place_of(error: BaseException) -> str:
    """The line of a user's code from which an error came, as a suffix of a message; "" for none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_theirs(frame):
            return f" ({Path(frame.filename).name}, line {frame.lineno})"
    return ""


def is_theirs(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is of a user's code: neither fobench's nor installed."""
    return not is_ours(frame) and not frame.filename.startswith(INSTALLED)


def is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(f"{Path(__file__).parent}/")
