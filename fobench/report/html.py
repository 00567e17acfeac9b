"""The report of experiments, as one HTML page that needs nothing but itself."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fobench.errors import UserError, printable
from fobench.evidence.claim import Claim
from fobench.evidence.outcomes import FAILS, HOLDS, UNDECIDED
from fobench.evidence.results import ExperimentResults
from fobench.figures import FIGURES
from fobench.figures.export import render
from fobench.report.contents import contents
from fobench.report.inline_svg import inline_svg
from fobench.report.markdown import COMMAND, Markdown
from fobench.report.tables import MISSING, Table

CODE = re.compile("(`[^`]+`)")
NUMBER = re.compile(rf"[+-]?[\d.,]+( .*)?|{MISSING}")
WITH_INTERVAL = re.compile(r"(\S+) (\([^()]* to [^()]*\))(.*)")


@dataclass(frozen=True)
class Drawn:
    """A figure as an element of the page, or the reason why there is none."""

    kind: str
    svg: Markup | None
    reason: str = ""


def page(
    experiments: Sequence[ExperimentResults],
    left_out: Sequence[str],
    target: float | None = None,
    claims: Sequence[Claim] | None = None,
) -> str:
    """The report as an HTML page; for the arguments see `contents`."""
    templates = Environment(
        loader=PackageLoader("fobench.report", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=inline,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"plain": plain, "with_interval": with_interval}
    templates.tests |= {"table": lambda content: isinstance(content, Table)}
    style, script = (read_template(f"report.{suffix}") for suffix in ("css", "js"))
    return templates.get_template("report.html").render(
        report=contents(experiments, left_out, target, claims),
        figures=[drawn(each, f"f{place}") for place, each in enumerate(experiments, 1)],
        numeric_columns=numeric_columns,
        verdict_words=(HOLDS, FAILS, UNDECIDED),
        style=Markup(style),
        script=Markup(script),
        policy=Markup(policy(script)),
    )


def read_template(name: str) -> str:
    return (files("fobench.report") / "templates" / name).read_text(encoding="utf-8")


def policy(script: str) -> str:
    """What a browser may do with the page: load nothing, and run no script but this one.

    Images that matplotlib draws lie within the figures, as data.
    """
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def drawn(results: ExperimentResults, prefix: str) -> list[Drawn]:
    """All kinds of figures of an experiment, the most important one first."""
    found = []
    for number, kind in enumerate(FIGURES):
        try:
            figure = render([results], kind, ".svg", outlines=False)
        except UserError as error:
            # Results that do not suffice for one figure may suffice for others.
            found.append(Drawn(kind, None, str(error)))
        else:
            label = f"Figure {kind}: {printable(results.title)}"
            found.append(Drawn(kind, Markup(inline_svg(figure, f"{prefix}-{number}", label))))
    return found


def inline(value: Any) -> Markup:
    """A value as text of the page; only commands, and code in our own Markdown, are marked up."""
    if isinstance(value, Markup):
        return value
    marked = CODE if isinstance(value, Markdown) else COMMAND
    return Markup("").join(
        Markup("<code>{}</code>").format(part[1:-1]) if marked.fullmatch(part) else escape(part)
        for part in marked.split(plain_text(value))
    )


def plain(value: Any) -> Markup:
    """A value as text without any elements, for titles and attributes."""
    return escape(plain_text(value))


def plain_text(value: Any) -> str:
    return printable(" ".join(str(value).splitlines()))


def numeric_columns(table: Table) -> set[int]:
    """The places of columns that hold numbers alone.

    The first holds names, which may begin with a number: "4 snapshots".
    """
    return {
        place
        for place, cells in enumerate(zip(*table.rows, strict=True))
        if place and all(NUMBER.fullmatch(cell) for cell in cells)
    }


def with_interval(cell: str) -> Markup:
    """A cell, its interval on a line of its own."""
    found = WITH_INTERVAL.fullmatch(cell)
    if found is None:
        return inline(cell)
    mean, ends, rest = map(inline, found.groups())
    return Markup("{} <small>{}</small>{}").format(mean, ends, rest)
