"""The report of experiments, as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fobench.evidence.results import ExperimentResults
from fobench.report import tables
from fobench.report.markdown import Markdown, escaped
from fobench.report.noise import noise_notes
from fobench.report.warnings import warnings


def report(
    experiments: Sequence[ExperimentResults],
    left_out: Sequence[str],
    target: float | None = None,
) -> str:
    """The report of several experiments, one after another.

    `left_out` are notes on what is left out; `target` is the validation error for the time to a
    target, by default one that all baselines reach.
    """
    templates = Environment(
        loader=PackageLoader("fobench.report", "templates"),
        undefined=StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = templates.get_template("report.md").render(
        sections=[section(each, target) for each in experiments],
        left_out=bullets(left_out) if left_out else None,
    )
    return text.rstrip() + "\n"


def section(results: ExperimentResults, target: float | None) -> dict[str, Any]:
    """The values that the template shows for an experiment."""
    target = tables.target_error(results, target)
    return {
        "name": results.folder.name or results.folder.resolve().name,
        "title": Markdown("  \n".join(map(escaped, results.title.splitlines()))),
        "methods": tables.methods_table(results.summary),
        "control": tables.control_table(results),
        "stores": tables.stores_table(results),
        "target_error": tables.number(target, 2),
        "target": None if target is None else tables.target_table(results, target),
        "environment": tables.environment_table(results),
        # They have markup of ours, and nothing of the user.
        "noise": bullets(map(Markdown, noise_notes(results))),
        "warnings": bullets(warnings(results)),
    }


def bullets(lines: Iterable[str]) -> Markdown:
    """Lines as a list."""
    return Markdown("".join(f"- {escaped(line)}\n" for line in lines) or "None.\n")
