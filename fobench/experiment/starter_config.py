"""A starter config: a working one, with all other options as comments. No torch."""

import json
import re
import tomllib
from typing import Any

from fobench.errors import UserError
from fobench.experiment.options import TABLES, ExperimentOptions
from fobench.methods import METHODS
from fobench.models import options_class
from fobench.validation import BARE_KEY, Options, read

HEADER = re.compile(r"\[+(\w+)\]+")
NAME = re.compile(r'^name\s*=\s*".*"', re.MULTILINE)
NAMED = {"model": options_class, "method": METHODS.get}
SCHEMA_LINE = "#:schema fobench.schema.json"


def starter_config(config: str, name: str) -> str:
    """The text of a config renamed to `name`, with all other options added as comments.

    `config` must be valid, with each value on its own line. Raises UserError for a name that no
    experiment can have.
    """
    _, problems = read(ExperimentOptions, {"name": name}, "[experiment]")
    if problems:
        raise UserError(f"{problem}: give the file another name" for problem in problems)
    head, *tables = split_at_tables(config)
    lines = [line for line in head if not line.startswith("#:schema")]
    text = [SCHEMA_LINE, *lines, *(line for table in tables for line in with_unset_options(table))]
    return NAME.sub(lambda _: f'name = "{name}"', "\n".join(text), count=1) + "\n"


def split_at_tables(config: str) -> list[list[str]]:
    """The lines before the first table, then the lines of each table including its header."""
    parts: list[list[str]] = [[]]
    for line in config.splitlines():
        if HEADER.match(line):
            parts.append([])
        parts[-1].append(line)
    return parts


def with_unset_options(table: list[str]) -> list[str]:
    """A table's lines, with the options that are not set added behind its last value."""
    name = HEADER.match(table[0])[1]
    values = tomllib.loads("\n".join(table[1:]))
    cls = NAMED[name](values["name"]) if name in NAMED else TABLES[name]
    end = max(number for number, line in enumerate(table) if line and not line.startswith("#"))
    return [*table[: end + 1], *comments(cls, values), *table[end + 1 :]]


def comments(cls: type[Options], given: dict[str, Any]) -> list[str]:
    """A commented line for each option that is not set: its default and description."""
    left_out = {name: field for name, field in cls.declared().items() if name not in given}
    return [
        f"# {name} = {toml(field.default)}".rstrip() + f"  # {field.description}"
        for name, field in left_out.items()
    ]


def toml(value: Any) -> str:
    """A value as TOML writes it, in one line; nothing for an option that is not set."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict) and value:
        pairs = (
            f"{key if BARE_KEY.fullmatch(key) else toml(key)} = {toml(each)}"
            for key, each in value.items()
        )
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value, ensure_ascii=False)
