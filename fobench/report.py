"""A report of experiments: a table of all methods, the machine, the noise of its clock, warnings.

Markdown, from the files of finished runs. No torch, no matplotlib.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from fobench import stats, variants
from fobench.panel import Panel
from fobench.results import RunResult

BUSY_SHARE = 0.9  # of the threads' time, below which a run waited for others
MISSING = "–"


def report(panels: Sequence[Panel], notes: Sequence[str], target: float | None = None) -> str:
    """The report of several experiments, one after another."""
    parts = ["# fobench report\n"]
    for panel in panels:
        parts += [
            f"## {panel.folder.name}\n",
            "  \n".join(panel.title.splitlines()) + "\n",
            methods_table(panel),
            READING,
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
n: seeds; pairs: seeds whose time stands beside that of their own baseline on the same machine. Time
saved and speedup: mean of the logs of the paired ratios; CPU time saved: the same of processor
seconds; changes of the test error: mean of the pairs. In brackets 95 % Student t intervals over the
seeds; a single seed has none. Pareto: no other method is as fast and as accurate and better in one,
by the means.
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


def methods_table(panel: Panel) -> str:
    """All methods of an experiment, a row each."""
    header = (
        *("method", "n", "pairs", "steps", "time saved, %", "speedup, ×", "CPU time saved, %"),
        *("test error, %", "change, points", "change, relative %", "Pareto"),
    )
    rows = []
    for _, row in panel.summary.iterrows():
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
                *(str(row["n"]), str(row["pairs"]), f"{row['steps']:,}"),
                *(shown["saved"], shown["speedup"], shown["cpu_saved"]),
                interval(row, "error"),
                *(shown["points"], shown["relative"]),
                "yes" if row["on_front"] else "no",
            )
        )
    return markdown(header, rows)


def target_table(panel: Panel, target: float | None) -> Iterator[str]:
    """Training seconds to a validation error; nothing where there is none."""
    target = stats.usual_target(panel.runs) if target is None else target
    if target is None:
        return
    yield f"### Time to a validation error of {number(target, 2)} %\n"
    rows = []
    for row, runs in panel.variants():
        seconds = [stats.seconds_to(target, run) for run in runs]
        reached = sum(math.isfinite(each) for each in seconds)
        median = pd.Series(seconds).median()
        shown = f"{median:,.0f}" if math.isfinite(median) else "never"
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
    """How far times of the same work stray, from repeats and from seeds."""
    repeats = stats.noise(panel.table, ["variant", "machine", "seed"])
    seeds = stats.noise(panel.table, ["variant", "machine"])
    lines = []
    if repeats is None:
        lines.append("Repeats (A/A): none; `experiment.repeats = 2` runs everything twice.")
    else:
        same = errors_repeat(panel.table)
        lines.append(
            f"Repeats (A/A): {told(repeats)} Their test errors "
            f"{'are equal to the last digit' if same else 'differ'}."
        )
    if seeds is not None:
        lines.append(f"Seeds of one method, whose work is the same: {told(seeds)}")
    return listed(lines)


def told(noise: stats.Noise) -> str:
    return (
        f"the standard deviation of a time is {number(noise.percent)} % ({noise.degrees} degrees "
        f"of freedom), so a single pair shows up to {number(noise.least_saving)} % of time saved "
        "by chance (95 %)."
    )


def errors_repeat(table: pd.DataFrame) -> bool:
    """Whether the repeats of a seed all end with the same test error."""
    return bool((table.groupby(["variant", "seed"])["test_error"].nunique() == 1).all())


def warnings(panel: Panel) -> list[str]:
    """What a reader should know before believing the table."""
    table, found = panel.table, []
    if (panel.summary["n"] == 1).any():
        found.append("n = 1 for some methods: no interval, and a difference may be chance")
    for run_id, percent in stats.outliers(table):
        found.append(f"outlying time, {number(percent, sign=True)} % off its median: {run_id}")
    for run_id in table.loc[table["resumed"], "id"]:
        left = "taken" if table.loc[table["id"] == run_id, "timed"].all() else "left out"
        found.append(f"resumed, so its time is in pieces, and {left}: {run_id}")
    if table["machine"].nunique() > 1:
        found.append("the runs come from several machines: times are paired within each")
    if any(run.record["environment"].get("dirty") for run in panel.runs):
        found.append("some runs come from code with changes that were not committed")
    threads = panel.runs[0].record["environment"]["threads"]
    if panel.runs[0].record["environment"]["device"] == "cpu":
        for _, row in panel.summary.iterrows():
            if row["cpu_share"] < BUSY_SHARE * threads:
                found.append(
                    f"{variants.label(row['options'])}: {number(row['cpu_share'], 2)} processor "
                    f"seconds a second on {threads} threads: other work may have run beside it"
                )
    return found
