"""Ensembles as a table of text."""

from collections.abc import Iterable

from fobench.evidence import ensembles
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import MISSING, Table, distance, interval, number, with_count

HEADER = (
    *("method", "n (errors)", "each member, %", "last member alone, %", "all M members, %"),
    *("gain over the last, points", "last 2 to M − 1 members, %"),
    "against fewer steps without freezing, points",
    *("evaluation FLOPs, ×", "evaluation time, ×"),
)


def ensembles_table(results: ExperimentResults) -> Table | None:
    """Test errors of members and ensembles, and what an evaluation costs; None without any."""
    variants = ensembles.summary(results)
    if variants.empty:
        return None
    rows = [
        (
            *(row["method"].label(), str(row["n"]), numbers(row["members"])),
            *(interval(row, "last_error"), interval(row, "error")),
            *(interval(row, "gain", 1, sign=True), numbers(row["last"])),
            distance(row, "shorter"),
            number(row["forward_flops"], 2),
            with_count(interval(row, "eval_ratio", 2), row["timed"], row["n"]),
        )
        for _, row in variants.iterrows()
    ]
    return Table(HEADER, rows)


def numbers(errors: Iterable[float]) -> str:
    return ", ".join(map(number, errors)) or MISSING
