"""What goes wrong at the user's side."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can mend: the message says what was wrong and what to do.

    Several mistakes found at once stand in it one a line.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
