"""The notes of a report: timing noise and warnings."""

import re
from collections.abc import Iterator

import pandas as pd

from fobench.evidence import noise
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import number

BUSY_SHARE = 0.9  # of the usual processor share; below it, a run probably waited for other work
LOST = re.compile("is left out: (diverged|failed)")


def noise_notes(results: ExperimentResults) -> list[str]:
    """The spread of times of equal work: repeats, first epochs, seeds and pairs."""
    repeats = noise.noise_of_repeats(results.table)
    if repeats is None:
        notes = ["Repeats (A/A): none; `experiment.repeats = 2` runs everything twice."]
    else:
        same = errors_repeat(results.table)
        notes = [
            f"Repeats (A/A): {deviation(repeats)}. Two runs of equal work differ by less than "
            f"{number(repeats.half_width(2))} % in 95 of 100 cases. Their test errors "
            f"{'are equal to the last digit' if same else 'differ'}."
        ]
    drift = noise.noise_of_first_epochs(results.table)
    if drift is not None:
        notes.append(
            f"First epochs of a seed's runs, in which nothing is frozen: {deviation(drift)}. It "
            "shows the drift of the machine while the methods of a seed are trained."
        )
    seeds = noise.noise_of_seeds(results.table)
    if seeds is not None:
        notes.append(
            f"Seeds of a method, whose work is equal too: {deviation(seeds)}. It includes the "
            "machine's drift, which pairing removes in part."
        )
    paired = noise.noise_of_pairs(results.table)
    if paired is not None:
        notes.append(
            f"Ratios of a method's seeds to their baselines: {deviation(paired)}. A single pair "
            f"lies within {number(paired.half_width(1))} % of the true ratio in 95 of 100 cases."
        )
    return notes


def deviation(found: noise.Noise) -> str:
    return f"standard deviation {number(found.percent)} % ({found.degrees} degrees of freedom)"


def errors_repeat(table: pd.DataFrame) -> bool:
    """Whether all repeats of a seed end with the same test error."""
    return bool((table.groupby(["variant", "seed"])["test_error"].nunique() == 1).all())


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
    outliers = noise.outliers(table)
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
