"""The warnings of a report: what a reader should know before believing its tables."""

import re
from collections.abc import Iterator

import pandas as pd

from fobench.evidence import clock_noise
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import number

BUSY_SHARE = 0.9  # of the usual processor share; below it, a run probably waited for other work
LOST = re.compile("is left out: (diverged|failed)")


def warnings(results: ExperimentResults) -> list[str]:
    """What a reader should know before believing the table."""
    table, found = results.table, []
    if (results.summary["n"] == 1).any():
        found.append("n = 1 for some methods: no interval, and differences may be chance")
    if results.summary["n"].nunique() > 1:
        found.append("methods have different numbers of seeds: compare only what is paired")
    lost = [note for note in results.left_out if LOST.search(note)]
    if lost:
        found.append(f"{len(lost)} runs diverged or failed: means are over the others")
    outliers = clock_noise.outliers(table)
    if outliers is None:
        found.append("outlying times were not looked for, as this needs three runs of a method")
    for run_id, percent in outliers or []:
        found.append(f"outlying time, {number(percent, sign=True)} % off its median: {run_id}")
    for run_id, timed in table.loc[table["resumed"], ["id", "timed"]].itertuples(index=False):
        use = "included" if timed else "left out"
        found.append(f"resumed, so its time is in pieces and {use}: {run_id}")
    for run in results.runs:
        for note in run.record.get("store", {}).get("notes", ()):
            found.append(f"{note}: {run.id}")
    if table["machine"].nunique() > 1:
        found.append(
            "the runs come from several machines: times are paired within each, but figures of "
            "seconds mix them"
        )
    if len({run.record["environment"].get("commit") for run in results.runs}) > 1:
        found.append("the runs come from several commits of fobench")
    if any(run.record["environment"].get("dirty") for run in results.runs):
        found.append("some runs come from code with uncommitted changes")
    return found + [
        f"{number(share, 2)} processor seconds per second, while runs of its method usually have "
        f"{number(usual, 2)}: other work may have run at the same time as {run_id}"
        for run_id, share, usual in waiting(table)
    ]


def waiting(table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """Runs with a lower processor share than others of their method on the same machine."""
    shares = table["cpu_seconds"] / table["train_seconds"]
    usual = shares.groupby([table["variant"], table["machine"]]).transform("median")
    for run_id, share, median in zip(table["id"], shares, usual, strict=True):
        if share < BUSY_SHARE * median:
            yield run_id, share, median
