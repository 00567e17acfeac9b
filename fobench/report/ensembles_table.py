"""Ensembles as a table of text."""

from collections.abc import Iterable

import pandas as pd

from fobench.evidence import ensembles
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import MISSING, Table, interval, number

HEADER = (
    *("method", "n (errors)", "each member, %", "last member alone, %", "all M members, %"),
    *("gain over the last, points", "last 2 to M − 1 members, %"),
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
            *(number(row["forward_flops"], 2), evaluation_time(row)),
        )
        for _, row in variants.iterrows()
    ]
    return Table(HEADER, rows)


def numbers(errors: Iterable[float]) -> str:
    return ", ".join(map(number, errors)) or MISSING


def evaluation_time(row: pd.Series) -> str:
    """With its n, if that is not the n of errors."""
    ratio = interval(row, "eval_ratio", 2)
    return f"{ratio}, n = {row['timed']}" if 0 < row["timed"] != row["n"] else ratio
