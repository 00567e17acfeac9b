"""The reference page of configs, generated from the declared options."""

from collections.abc import Mapping

from fobench.experiment.options import TABLES
from fobench.experiment.starter_config import toml
from fobench.methods import METHODS
from fobench.models import FAMILIES, SOURCES
from fobench.validation import Options, allowed, option_schema

INTRODUCTION = """\
# Configs

An experiment is a TOML file. This page lists every table and option; it is written by
`fobench schema --markdown`. `fobench init` writes a config to start from, and `fobench schema`
the JSON Schema with which editors complete and check configs whose first line names it:
`#:schema ./fobench.schema.json`.

In a `[[method]]` table a list of values is an axis of a grid: the experiment runs every
combination. `--set table.key=value` overrides an option on the command line. All mistakes of a
config are reported at once, before anything trains.
"""


def reference() -> str:
    """The page, in Markdown."""
    parts = [INTRODUCTION]
    for name in ("experiment", "data"):
        parts.append(section(f"[{name}]", TABLES[name]))
    parts.append("## [model]\n\n`name` chooses the network; the other options are its own.\n")
    parts += named_sections(FAMILIES)
    parts += [
        section(f"Networks from elsewhere: {name}", cls, "###") for name, cls in SOURCES.items()
    ]
    parts.append(section("[train]", TABLES["train"]))
    parts.append("## [[method]]\n\n`name` chooses the method; the other options are its own.\n")
    parts += named_sections(METHODS)
    return "\n".join(parts)


def named_sections(registry: Mapping[str, type[Options]]) -> list[str]:
    return [section(f'name = "{name}"', cls, "###") for name, cls in registry.items()]


def section(title: str, cls: type[Options], level: str = "##") -> str:
    """A heading, a description of the table, and its options."""
    rows = [
        (f"`{name}`", values(cls, name), default(cls, name), cls.declared()[name].description)
        for name in cls.declared()
    ]
    header = [("option", "values", "default", "meaning"), ("---",) * 4]
    lines = [f"| {' | '.join(row)} |" for row in [*header, *rows]]
    return "\n".join([f"{level} {title}", "", cls.__doc__.partition("\n\n")[0], "", *lines, ""])


def values(cls: type[Options], name: str) -> str:
    return allowed(option_schema(cls, name)).replace("'", '"')


def default(cls: type[Options], name: str) -> str:
    field = cls.declared()[name]
    if field.is_required():
        return "required"
    return f"`{toml(field.default)}`" if field.default is not None else "not set"
