"""The tables of a report, as rows of text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fobench.evidence import store_savings
from fobench.evidence.claim_tests import summary_against_control
from fobench.evidence.pairs import ranks_of
from fobench.evidence.predictions import difference
from fobench.evidence.results import ExperimentResults
from fobench.evidence.summary import default_target, seconds_to_error
from fobench.experiment.from_record import method_of
from fobench.records.runs import RunResult
from fobench.report.markdown import Markdown, escaped

MISSING = "–"
AGAINST_FEWER_STEPS = "against fewer steps, points"
METHODS_HEADER = (
    *("method", "n (errors)", "n (times)", "steps", "time saved, %", "speedup, ×"),
    *("CPU time saved, %", "test error, %", "error change, points", "error change, %"),
    *(AGAINST_FEWER_STEPS, "Pareto"),
)
PREDICTIONS_HEADER = (
    *("method", "n (times)", "time saved, %", "predicted by profile, %"),
    *("measured minus profile, points", "predicted by FLOPs, %", "by the paper's estimate, %"),
)
STORES_HEADER = (
    *("method", "n (errors)", "n (times)", "time saved, %", "without the store, %"),
    *("saved by the store, points", "predicted by its plan, points", "building and reading, %"),
    "error change, points",
)
TARGET_HEADER = ("method", "runs that reach it", "timed runs", "median seconds of training")


@dataclass(frozen=True)
class Table:
    """Cells of text under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> Markdown:
        rows = [[escaped(cell) for cell in row] for row in (self.header, *self.rows)]
        lines = [rows[0], ["---"] * len(self.header), *rows[1:]]
        return Markdown("".join(f"| {' | '.join(line)} |\n" for line in lines))

    def columns(self, names: Sequence[str]) -> list[list[str]]:
        """The cells of those columns, by row."""
        places = [list(self.header).index(name) for name in names]
        return [[row[place] for place in places] for row in self.rows]


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    if value is None or math.isnan(value):
        return MISSING
    # + 0.0 turns -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}"


def interval(row: pd.Series, column: str, digits: int = 1, sign: bool = False) -> str:
    """A mean with its interval."""
    mean = number(row[column], digits, sign)
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if mean == MISSING or low is None or math.isnan(low):
        return mean
    return f"{mean} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def time(row: pd.Series, column: str, digits: int = 1) -> str:
    """A measured time saved or speedup with its interval, or the predicted one, marked as such."""
    shown = interval(row, column, digits)
    return f"{shown} predicted" if row["predicted"] else shown


def methods_table(variants: pd.DataFrame) -> Table:
    """All methods of a summary, one row each."""
    rows = []
    for _, row in variants.iterrows():
        # The baseline compared with itself: exactly 0, without an interval.
        against_itself = row["method"].is_whole_baseline
        compared = {
            "saved": "0" if against_itself else time(row, "saved"),
            "speedup": "1" if against_itself else time(row, "speedup", 2),
            "cpu_saved": "0" if against_itself else interval(row, "cpu_saved"),
            "points": "0" if against_itself else change(row, "points", "error_pairs"),
            "relative": "0" if against_itself else change(row, "relative", "relative_pairs"),
        }
        rows.append(
            (
                *(row["method"].label(), str(row["n"]), str(row["pairs"]), f"{row['steps']:,}"),
                *(compared["saved"], compared["speedup"], compared["cpu_saved"]),
                *(interval(row, "error"), compared["points"], compared["relative"]),
                distance(row, "fewer_steps"),
                # Unknown without a time.
                MISSING if math.isnan(row["saved"]) else "yes" if row["on_front"] else "no",
            )
        )
    return Table(METHODS_HEADER, rows)


def change(row: pd.Series, column: str, pairs: str) -> str:
    """A change of the error, of as many pairs as another column says."""
    return with_count(interval(row, column, 1, sign=True), row[pairs], row["n"])


def distance(row: pd.Series, column: str) -> str:
    """The distance to a line to beat, and in how many seeds the time on it was not measured."""
    cell, n = interval(row, column, 1, sign=True), row[f"{column}_n"]
    cell, predicted = with_count(cell, n, row["n"]), row[f"{column}_predicted"]
    if not predicted:
        return cell
    source = "time of other seeds" if math.isnan(row["profile_saved"]) else "time predicted"
    return f"{cell}, {source}" + (f" in {predicted} of {n}" if predicted < n else "")


def with_count(cell: str, count: int, errors: int) -> str:
    """A cell with its n, if that is not the n of errors."""
    return f"{cell}, n = {count}" if 0 < count != errors else cell


def predictions_table(results: ExperimentResults) -> Table | None:
    """The time saved that was predicted beside the measured one; None if nothing was measured."""
    measured = results.summary[results.summary["pairs"] > 0]
    rows = [
        (
            *(row["method"].label(), str(row["pairs"])),
            "0" if row["method"].is_whole_baseline else interval(row, "saved"),
            *(number(row["profile_saved"]), number(difference(row), sign=True)),
            *(number(row["flops_saved"]), number(row["paper_saved"])),
        )
        for _, row in measured.iterrows()
    ]
    return Table(PREDICTIONS_HEADER, rows) if rows else None


def control_table(results: ExperimentResults) -> Table | None:
    """Runs compared with their own control; None without a run that is there with its control."""
    controls = controls_of(results)
    if not controls:
        return None
    variants = summary_against_control(results, list(controls))
    found = methods_table(variants)
    left = [name for name in found.header[1:] if name not in (AGAINST_FEWER_STEPS, "Pareto")]
    by_variant = dict(zip(results.table["id"], results.table["variant"], strict=True))
    names = {by_variant[run_id]: control for run_id, control in controls.items()}
    rows = [
        (row["method"].label(), names[row["variant"]], *cells)
        for (_, row), cells in zip(variants.iterrows(), found.columns(left), strict=True)
    ]
    return Table(("method", "control", *left), rows)


def controls_of(results: ExperimentResults) -> dict[str, str]:
    """The names of controls, by the id of the run that is compared with one."""
    by_id = {run.id: run for run in results.runs}
    controls = {run.id: by_id.get(run.record.get("control")) for run in results.runs}
    return {
        run_id: method_of(control.record).label()
        for run_id, control in controls.items()
        if control is not None
    }


def stores_table(results: ExperimentResults) -> Table | None:
    """What stores saved, compared with the same inputs without a store; None without stores."""
    variants = store_savings.summary(results)
    if variants.empty:
        return None
    columns = ("saved", "saved_without", "by_store", "predicted", "traffic")
    rows = [
        (
            *(row["method"].label(), str(row["n"]), str(row["timed"])),
            *(interval(row, column) for column in columns),
            interval(row, "points", 2, sign=True),
        )
        for _, row in variants.iterrows()
    ]
    return Table(STORES_HEADER, rows)


def target_error(results: ExperimentResults, given: float | None) -> float | None:
    """The target validation error; None if none was measured."""
    if all(run.epochs[-1].val_error is None for run in results.runs):
        return None
    return default_target(results.runs) if given is None else given


def target_table(results: ExperimentResults, target: float) -> Table:
    """Training seconds to a validation error."""
    rows = []
    for row, runs in results.variants():
        reached = sum(math.isfinite(seconds_to_error(target, run)) for run in runs)
        timed = [seconds_to_error(target, run) for run in results.timed(runs)]
        median = pd.Series(timed, dtype=float).median()
        seconds = (
            MISSING if math.isnan(median) else "never" if median == math.inf else f"{median:,.0f}"
        )
        counts = f"{reached} of {len(runs)}", str(len(timed))
        rows.append((row["method"].label(), *counts, seconds))
    return Table(TARGET_HEADER, rows)


def environment_table(results: ExperimentResults) -> Table:
    """The machine and the code, with all values where runs differ."""
    found = environments(results.runs)
    rows = [
        (name, ", ".join(sorted(MISSING if each is None else str(each) for each in values)))
        for name, values in found.items()
    ]
    return Table(("", ""), rows)


def environments(runs: Sequence[RunResult]) -> dict[str, set[Any]]:
    """All values of each property of the machine and the code."""
    found: dict[str, set[Any]] = {}
    for run in runs:
        environment = run.record["environment"]
        shown = {
            "device": environment["gpu"] or environment["device"],
            "processor": environment["processor"],
            "cores": environment["cores"],
            "threads": environment["threads"],
            **({"processes": ranks} if (ranks := ranks_of(environment)) > 1 else {}),
            **cpu_limits(environment),
            **gpu_settings(environment),
            "host": environment["host"],
            "torch": environment["versions"]["torch"],
            "fobench": environment["versions"].get("fobench"),
            "commit": environment.get("commit"),
        }
        for name, value in shown.items():
            found.setdefault(name, set()).add(value)
    images = {run.record["environment"].get("images", "device") for run in runs}
    return found if images == {"device"} else found | {"images read from": images}


def gpu_settings(environment: dict[str, Any]) -> dict[str, Any]:
    """How a GPU was used, where there was one; the precision, where it was recorded."""
    names = {"precision": "precision"}
    if environment["gpu"]:
        names |= {"step": "training steps", "cudnn_benchmark": "cuDNN benchmark"}
        names |= {"driver": "driver", "cuda": "CUDA", "cudnn": "cuDNN", "gpu_uuid": "card"}
    return {names[key]: environment[key] for key in names if key in environment}


def cpu_limits(environment: dict[str, Any]) -> dict[str, Any]:
    """What a process could use of its machine's processors, where it was recorded."""
    names = {"cpu_quota": "CPU quota", "cpus_allowed": "CPUs allowed"}
    limits = {names[key]: environment[key] for key in names if key in environment}
    return {name: "none" if limit is None else limit for name, limit in limits.items()}
