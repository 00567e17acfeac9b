"""Errors that the user can fix, and the user's texts in messages."""

from collections.abc import Iterable


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
