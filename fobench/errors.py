"""Errors that the user can fix."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can fix: the message says what is wrong and what to do.

    Several mistakes found at once are reported together, one per line.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
