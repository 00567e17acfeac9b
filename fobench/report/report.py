"""The report of experiments, as Markdown."""

from collections.abc import Iterable, Sequence
from textwrap import fill

from jinja2 import Environment, PackageLoader, StrictUndefined

from fobench.evidence.claim import Claim
from fobench.evidence.results import ExperimentResults
from fobench.report.contents import contents
from fobench.report.markdown import Markdown, escaped
from fobench.report.tables import Table

LINE = 100  # characters


def report(
    experiments: Sequence[ExperimentResults],
    left_out: Sequence[str],
    target: float | None = None,
    claims: Sequence[Claim] | None = None,
) -> str:
    """The report as Markdown; for the arguments see `contents`."""
    templates = Environment(
        loader=PackageLoader("fobench.report", "templates"),
        undefined=StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"block": block, "wrapped": wrapped, "lines": lines}
    shown = contents(experiments, left_out, target, claims)
    return templates.get_template("report.md").render(report=shown).rstrip() + "\n"


def block(content: Table | Iterable[str]) -> Markdown:
    """A table, or notes as a list."""
    if isinstance(content, Table):
        return content.markdown()
    return Markdown("".join(f"- {escaped(note)}\n" for note in content) or "None.\n")


def wrapped(text: str) -> Markdown:
    """A paragraph in lines."""
    return Markdown(fill(escaped(text), LINE, break_long_words=False, break_on_hyphens=False))


def lines(texts: Iterable[str]) -> Markdown:
    """Each text on a line of its own."""
    return Markdown("  \n".join(map(escaped, texts)))
