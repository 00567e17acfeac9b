"""The warnings of a report: what a reader should know before believing its tables."""

import math
import re
from collections.abc import Iterator

import pandas as pd

from fobench.errors import counted
from fobench.evidence import clock_noise
from fobench.evidence.ensembles import shorter_notes
from fobench.evidence.epoch_times import LongEpoch, long_epochs
from fobench.evidence.line_to_beat import line_notes
from fobench.evidence.predictions import missed
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import interval, number

# Least ratio of two processor shares that are taken as equal; below it, a run probably waited.
BUSY_SHARE = 0.9
WAITED_SECONDS = 0.5  # of processor time; a difference below it is within the clock's grain
LOST = re.compile("is left out: (diverged|failed)")


def warnings(results: ExperimentResults) -> list[str]:
    """What a reader should know before believing the table."""
    table, found = results.table, []
    found += count_notes(results.summary)
    if untimed := int((~table["alone"]).sum()):
        found.append(
            f"runs trained beside others, {untimed} of {len(table)}: their errors count, their "
            "times do not"
        )
    found += line_notes(results.summary)
    found += shorter_notes(results)
    found += prediction_notes(results)
    lost = [note for note in results.left_out if LOST.search(note)]
    if lost:
        found.append(f"{counted(len(lost), 'run')} diverged or failed: means are over the others")
    outliers = clock_noise.outliers(table)
    if outliers is None and table["timed"].any():
        found.append("outlying times were not looked for, as this needs three runs of a method")
    for run_id, percent in outliers or []:
        found.append(f"outlying time, {number(percent, sign=True)} % off its median: {run_id}")
    alone = table[table["alone"]]  # the times of the others do not count anyway
    for run_id, timed in alone.loc[alone["resumed"], ["id", "timed"]].itertuples(index=False):
        use = "included" if timed else "left out"
        found.append(f"resumed, so its time is in pieces and {use}: {run_id}")
    for run in results.runs:
        for part in ("store", "graphs"):
            for note in run.record.get(part, {}).get("notes", ()):
                found.append(f"{note}: {run.id}")
    if table["machine"].nunique() > 1:
        found.append(
            "the runs come from several machines, cards or drivers, or had several CPU limits or "
            "places of their images: times are paired within each, but figures of seconds mix them"
        )
    if len({run.record["environment"].get("commit") for run in results.runs}) > 1:
        found.append("the runs come from several commits of fobench")
    if any(run.record["environment"].get("dirty") for run in results.runs):
        found.append("some runs come from code with uncommitted changes")
    found += long_epoch_notes(results)
    found += [
        f"{number(share, 2)} processor seconds per second, while runs of its method usually have "
        f"{number(usual, 2)}: other work may have run at the same time as {run_id}"
        for run_id, share, usual in waiting(table)
    ]
    return found + [
        f"{number(share, 2)} processor seconds per second, while its baseline has "
        f"{number(baseline, 2)}: one of them may have had fewer processors, or shared them: "
        f"{run_id}"
        for run_id, share, baseline in unequal_pairs(table)
    ]


def count_notes(variants: pd.DataFrame) -> Iterator[str]:
    """Notes on few seeds, and on different numbers of them."""
    errors, times = variants["n"], variants["pairs"]
    if (errors == 1).any():
        yield "n = 1 for some methods: no interval, and differences may be chance"
    elif (times == 1).any():
        yield "n = 1 of times for some methods: no interval, and differences may be chance"
    if errors.nunique() > 1 or times.nunique() > 1:
        yield "methods have different numbers of seeds: compare only what is paired"
    whole = [method.is_whole_baseline for method in variants["method"]]
    if predicted := int(variants["predicted"].mask(whole, False).sum()):
        yield (
            f"the time saved of {counted(predicted, 'method')} is predicted from the profile, not "
            "measured"
        )


def prediction_notes(results: ExperimentResults) -> Iterator[str]:
    """A note for each method whose time saved is not what its profile predicts."""
    for row in missed(results.table, results.summary):
        yield (
            f"the profile predicts {number(row['profile_saved'])} % of time saved for "
            f"{row['method'].label()}, measured are {interval(row, 'saved')} % (n = "
            f"{row['pairs']}): the machine was not quiet for one of the two, or the profile lacks "
            "something"
        )


def long_epoch_notes(results: ExperimentResults) -> Iterator[str]:
    """A note for each run with epochs that took far longer than expected."""
    by_run: dict[str, list[LongEpoch]] = {}
    for each in long_epochs(results.timed(results.runs)):
        by_run.setdefault(each.run_id, []).append(each)
    for run_id, epochs in by_run.items():
        longest = max(epochs, key=lambda each: each.seconds - each.expected)
        others = f" (and {len(epochs) - 1} more like it)" if len(epochs) > 1 else ""
        seconds, expected = number(longest.seconds, 2), number(longest.expected, 2)
        yield (
            f"epoch {longest.epoch} took {seconds} s, where epochs of equal work or more take "
            f"{expected} s{others}: the run may have been suspended, or other work may have run "
            f"at the same time as {run_id}"
        )


def waiting(table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """Runs with a lower processor share than others of their method on the same machine.

    Those that are known to have been trained beside others are left aside.
    """
    table = table[table["alone"]]
    shares = table["cpu_seconds"] / table["train_seconds"]
    usual = shares.groupby([table["variant"], table["machine"]]).transform("median")
    for run_id, share, median in zip(table["id"], shares, usual, strict=True):
        if share < BUSY_SHARE * median:
            yield run_id, share, median


def unequal_pairs(table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """Runs with another processor share than their paired baseline, and both shares."""
    shares = table["cpu_seconds"] / table["train_seconds"]
    # Missing without a pair. The baseline's share, from the ratios of its and the run's seconds.
    ratios = (table["cpu_log_ratio"] - table["log_ratio"]).map(math.exp)
    columns = (table["id"], table["train_seconds"], shares, ratios)
    for run_id, seconds, share, ratio in zip(*columns, strict=True):
        differ = ratio < BUSY_SHARE or ratio > 1 / BUSY_SHARE
        if differ and abs(share - share / ratio) * seconds > WAITED_SECONDS:
            yield run_id, share, share / ratio
