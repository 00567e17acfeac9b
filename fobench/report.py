"""A report of experiments: a table of all methods, the machine, the noise of its clock, warnings.

Markdown, from the files of finished runs. No torch, no matplotlib.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from fobench import noise as clock_noise
from fobench import stats, storing, variants
from fobench.panel import Panel
from fobench.results import RunResult

BUSY_SHARE = 0.9  # of what is usual, below which a run waited for others
LOST = re.compile("is left out: (diverged|failed)")
MISSING = "–"


def report(panels: Sequence[Panel], notes: Sequence[str], target: float | None = None) -> str:
    """The report of several experiments, one after another."""
    parts = ["# fobench report\n"]
    for panel in panels:
        parts += [
            f"## {panel.folder.name}\n",
            "  \n".join(panel.title.splitlines()) + "\n",
            methods_table(panel.summary),
            READING,
            *control_table(panel),
            *store_table(panel),
            *target_table(panel, target),
            "### The machine\n",
            environment_table(panel),
            "### The noise of the clock\n",
            noise_note(panel),
            "### Warnings\n",
            listed(warnings(panel)),
        ]
    if notes:
        parts += ["## Left out\n", listed(notes)]
    return "\n".join(parts)


READING = """
n: seeds; pairs: seeds whose time stands beside that of their own baseline on the same machine, and
in brackets those whose error does, where they are others. Time saved and speedup: mean of the logs
of the paired ratios; by FLOPs: what the work not done predicts, stores left aside; CPU time saved:
as time saved, of processor seconds; changes of the test error: mean of the pairs. In brackets 95 %
Student t intervals over the seeds; a single seed has none. Pareto: no other method is as fast and
as accurate and better in one, by the means.
"""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def listed(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines) or "None.\n"


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    if value is None or math.isnan(value):
        return MISSING
    # No minus before a zero.
    return f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}"


def interval(row: pd.Series, column: str, digits: int = 1, sign: bool = False) -> str:
    """A mean with its interval."""
    mean = number(row[column], digits, sign)
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if mean == MISSING or low is None or math.isnan(low):
        return mean
    return f"{mean} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def methods_table(summary: pd.DataFrame) -> str:
    """All methods of a summary, a row each."""
    header = (
        *("method", "n", "pairs", "steps", "time saved, %", "by FLOPs, %", "speedup, ×"),
        *("CPU time saved, %", "test error, %", "change, points", "change, relative %", "Pareto"),
    )
    rows = []
    for _, row in summary.iterrows():
        whole = variants.is_whole_baseline(row["options"])
        compared = {
            "saved": ("0", interval(row, "saved")),
            "speedup": ("1", interval(row, "speedup", 2)),
            "cpu_saved": ("0", interval(row, "cpu_saved")),
            "points": ("0", interval(row, "points", 1, sign=True)),
            "relative": ("0", interval(row, "relative", 1, sign=True)),
        }
        # A baseline is no further than nothing from itself, and that without an interval.
        shown = {key: itself if whole else other for key, (itself, other) in compared.items()}
        rows.append(
            (
                variants.label(row["options"]),
                *(str(row["n"]), pairs(row), f"{row['steps']:,}"),
                *(shown["saved"], number(row["flops_saved"])),
                *(shown["speedup"], shown["cpu_saved"], interval(row, "error")),
                *(shown["points"], shown["relative"]),
                # Whose time is not known may be on the front or not.
                MISSING if math.isnan(row["saved"]) else "yes" if row["on_front"] else "no",
            )
        )
    return markdown(header, rows)


def pairs(row: pd.Series) -> str:
    if row["pairs"] == row["error_pairs"]:
        return str(row["pairs"])
    return f"{row['pairs']} ({row['error_pairs']})"


def control_table(panel: Panel) -> Iterator[str]:
    """Runs with a control of their own beside it: the published code's VGG at constant rates."""
    controlled = [run for run in panel.runs if run.record.get("control")]
    if not controlled:
        return
    timed = bool(panel.table.loc[panel.table["resumed"], "timed"].all())
    table = stats.table(panel.runs, include_resumed=timed, against="control")
    summary = stats.summary(table[table["id"].isin([run.id for run in controlled])])
    yield "### Beside the baseline at a constant rate\n"
    yield methods_table(summary)


def store_table(panel: Panel) -> Iterator[str]:
    """What stores saved, beside the same inputs without a store; nothing where none was asked."""
    summary = storing.summary(panel)
    if summary.empty:
        return
    yield "### Beside the same inputs without a store\n"
    yield markdown(STORE_HEADER, store_rows(summary))
    yield STORE_READING


def store_rows(summary: pd.DataFrame) -> list[tuple[str, ...]]:
    """The rows of a `storing.summary`."""
    columns = ("saved", "saved_without", "by_store", "predicted", "traffic")
    return [
        (
            *(variants.label(row["options"]), seeds_told(row)),
            *(interval(row, column) for column in columns),
            interval(row, "points", 2, sign=True),
        )
        for _, row in summary.iterrows()
    ]


def seeds_told(row: pd.Series) -> str:
    """n, and of how many seeds the times count, if of fewer."""
    if row["timed"] == row["n"]:
        return str(row["n"])
    return f"{row['n']} ({row['timed']} timed)"


STORE_HEADER = (
    *("method", "n", "time saved, %", "without the store, %", "by the store, points"),
    *("by its plan, points", "building and reading, %", "change of the test error, points"),
)
STORE_READING = """
n: seeds whose run stands beside its baseline and beside the run of the same inputs without a store,
on the same machine; "timed", where fewer, those of which no run was resumed: of the others the
errors alone count.
Points of time are percent of the baseline's training time. What the store saved is told by the
epochs from the first build on, since those before are of equal work in both. Building and reading
are percent of the run's own time. Means of the percentages, not of logs as above.
"""


def target_table(panel: Panel, target: float | None) -> Iterator[str]:
    """Training seconds to a validation error; nothing where none was measured."""
    measured = any(run.epochs[-1].val_error is not None for run in panel.runs)
    target = stats.usual_target(panel.runs) if target is None else target
    if target is None or not measured:
        return
    yield f"### Time to a validation error of {number(target, 2)} %\n"
    rows = []
    for row, runs in panel.variants():
        reached = sum(math.isfinite(stats.seconds_to(target, run)) for run in runs)
        median = pd.Series([stats.seconds_to(target, run) for run in panel.timed(runs)]).median()
        shown = (
            MISSING if math.isnan(median) else "never" if median == math.inf else f"{median:,.0f}"
        )
        rows.append((variants.label(row["options"]), f"{reached} of {len(runs)}", shown))
    yield markdown(("method", "runs that reach it", "median seconds of training"), rows)
    yield "A run that does not reach it counts as never.\n"


def environment_table(panel: Panel) -> str:
    """What was the same for all runs, and what was not."""
    rows = []
    for name, values in environments(panel.runs).items():
        rows.append((name, ", ".join(sorted(str(value) for value in values))))
    return markdown(("", ""), rows)


def environments(runs: Sequence[RunResult]) -> dict[str, set[Any]]:
    """All values of what describes the machine and the code."""
    found: dict[str, set[Any]] = {}
    for run in runs:
        environment = run.record["environment"]
        shown = {
            "device": environment["gpu"] or environment["device"],
            "processor": environment["processor"],
            "cores": environment["cores"],
            "threads": environment["threads"],
            "host": environment["host"],
            "torch": environment["versions"]["torch"],
            "fobench": environment["versions"].get("fobench"),
            "commit": environment.get("commit"),
        }
        for name, value in shown.items():
            found.setdefault(name, set()).add(value)
    return found


def noise_note(panel: Panel) -> str:
    """How far times of the same work stray, told by repeats, by seeds and by pairs."""
    repeats = clock_noise.noise_of_repeats(panel.table)
    seeds, paired = clock_noise.noise_of_seeds(panel.table), clock_noise.noise_of_pairs(panel.table)
    lines = []
    if repeats is None:
        lines.append("Repeats (A/A): none; `experiment.repeats = 2` runs everything twice.")
    else:
        same = errors_repeat(panel.table)
        lines.append(
            f"Repeats (A/A): {told(repeats)}. Two runs of equal work differ by less than "
            f"{number(repeats.within(2))} % in 95 of 100 cases. Their test errors "
            f"{'are equal to the last digit' if same else 'differ'}."
        )
    drift = clock_noise.noise_of_first_epochs(panel.table)
    if drift is not None:
        lines.append(
            f"First epochs of a seed's runs, in which nothing is frozen: {told(drift)}. It is how "
            "far the machine drifts while the methods of a seed are trained."
        )
    if seeds is not None:
        lines.append(
            f"Seeds of a method, whose work is equal too: {told(seeds)}. It holds the machine's "
            "drift, which pairing takes out in part."
        )
    if paired is not None:
        lines.append(
            f"Ratios of a method's seeds to their baselines: {told(paired)}. A single pair lies "
            f"within {number(paired.within(1))} % of the true ratio in 95 of 100 cases."
        )
    return listed(lines)


def told(noise: clock_noise.Noise) -> str:
    return f"standard deviation {number(noise.percent)} % ({noise.degrees} degrees of freedom)"


def errors_repeat(table: pd.DataFrame) -> bool:
    """Whether the repeats of a seed all end with the same test error."""
    return bool((table.groupby(["variant", "seed"])["test_error"].nunique() == 1).all())


def warnings(panel: Panel) -> list[str]:
    """What a reader should know before believing the table."""
    table, found = panel.table, []
    if (panel.summary["n"] == 1).any():
        found.append("n = 1 for some methods: no interval, and a difference may be chance")
    if panel.summary["n"].nunique() > 1:
        found.append("methods have different numbers of seeds: compare only what is paired")
    lost = [note for note in panel.left_out if LOST.search(note)]
    if lost:
        found.append(f"{len(lost)} runs diverged or failed: the means are those of the others")
    outliers = clock_noise.outliers(table)
    if outliers is None:
        found.append("outlying times were not looked for: that takes three runs of a method")
    for run_id, percent in outliers or []:
        found.append(f"outlying time, {number(percent, sign=True)} % off its median: {run_id}")
    for run_id, timed in table.loc[table["resumed"], ["id", "timed"]].itertuples(index=False):
        left = "taken" if timed else "left out"
        found.append(f"resumed, so its time is in pieces, and {left}: {run_id}")
    for run in panel.runs:
        for note in run.record.get("store", {}).get("notes", ()):
            found.append(f"{note}: {run.id}")
    if table["machine"].nunique() > 1:
        found.append(
            "the runs come from several machines: times are paired within each, and figures of "
            "seconds mix them"
        )
    if len({run.record["environment"].get("commit") for run in panel.runs}) > 1:
        found.append("the runs come from several commits of fobench")
    if any(run.record["environment"].get("dirty") for run in panel.runs):
        found.append("some runs come from code with changes that were not committed")
    return found + [
        f"{number(share, 2)} processor seconds a second, where runs of its method have "
        f"{number(usual, 2)}: other work may have run beside {run_id}"
        for run_id, share, usual in waiting(table)
    ]


def waiting(table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """Runs that had less of the processors than others of their method on their machine."""
    shares = table["cpu_seconds"] / table["train_seconds"]
    usual = shares.groupby([table["variant"], table["machine"]]).transform("median")
    for run_id, share, median in zip(table["id"], shares, usual, strict=True):
        if share < BUSY_SHARE * median:
            yield run_id, share, median
