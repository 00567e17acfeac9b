"""Texts in Markdown: those of users, such as names of files, are shown as they are."""

import re
from typing import Any

from fobench.errors import printable

# All that Markdown, its tables, HTML or formulas give a meaning; "_" inside a word has none.
MARKUP = re.compile(r"[\\`*\[\]<>|~$&#]|(?<![^\W_])_|_(?![^\W_])")
# As our own messages name one, such as `fobench run cpu/densenet`.
COMMAND = re.compile(r"(`fobench [a-z]+(?: [\w./-]+)*`)")


class Markdown(str):
    """A text that is Markdown already."""

    __slots__ = ()


def escaped(value: Any) -> str:
    """A value as one line of Markdown, without markup unless it is Markdown already."""
    if isinstance(value, Markdown):
        return value
    parts = COMMAND.split(printable(" ".join(str(value).splitlines())))
    return "".join(
        part if COMMAND.fullmatch(part) else MARKUP.sub(r"\\\g<0>", part) for part in parts
    )
