"""What stores of activations saved, compared with the same run without them."""

import math
from typing import Any

import pandas as pd

from fobench.evidence.intervals import columns, mean_interval
from fobench.evidence.pairs import machine
from fobench.evidence.results import ExperimentResults
from fobench.records.runs import RunResult


def seconds_by_epoch(run: RunResult) -> list[float]:
    """Seconds spent on building and reading stores in each epoch, part of its training time."""
    store = run.record.get("store")
    if store is None:
        return [0.0] * len(run.epochs)
    return [sum(each) for each in zip(store["build_seconds"], store["read_seconds"], strict=True)]


def summary(results: ExperimentResults) -> pd.DataFrame:
    """One row per variant that stores activations.

    Each of its `n` seeds is paired with its baseline and with the run that sees the same inputs
    but stores nothing, on the same machine; in `timed` of them the times count. Columns:

    - `saved`, `saved_without`: time saved with and without the store, in percent.
    - `by_store`: time saved by the store, in percent of the baseline's time, measured from the
      epoch of the first build on, as the work is equal before.
    - `predicted`: the same as predicted by the plan.
    - `traffic`: share of the training time spent on building and reading, in percent.
    - `points`: change of the test error by the store, in points.

    All but the counts have `_low` and `_high`.
    """
    by_id = {run.id: run for run in results.runs}
    timed = {run.id for run in results.timed(results.runs)}
    rows = []
    for row, runs in results.variants():
        if not row["method"].stores.precompute:
            continue
        pairs = [compare(run, by_id, timed) for run in runs]
        table = pd.DataFrame([pair for pair in pairs if pair is not None], columns=COLUMNS)
        seeds = table.groupby("seed").mean()
        timed_seeds = seeds["saved"].count()
        found = {"method": row["method"], "n": len(seeds), "timed": timed_seeds}
        for column in COLUMNS[1:]:
            found |= columns(column, mean_interval(seeds[column].dropna().tolist()))
        rows.append(found)
    return pd.DataFrame(rows)


COLUMNS = ["seed", "saved", "saved_without", "by_store", "predicted", "traffic", "points"]


def compare(
    run: RunResult, by_id: dict[str, RunResult], timed: set[str]
) -> dict[str, float] | None:
    """A run compared with its baseline and the run without a store; None if either is missing.

    If any of them was resumed, only the errors are compared.
    """
    others = [by_id.get(run.record[key]) for key in ("baseline", "uncached")]
    if None in others or len({machine(each.record) for each in (run, *others)}) > 1:
        return None
    points = run.test_error - others[1].test_error
    if not {run.id, *(other.id for other in others)} <= timed:
        return {"seed": run.record["run"]["seed"], "points": points}
    seconds, baseline, without = (each.epochs[-1].total_train_seconds for each in (run, *others))
    plan = run.record["store_plan"]
    predicted = plan["predicted"]["seconds_saved"]
    first = min((build["epoch"] for build in plan["builds"]), default=math.inf)
    return {
        "seed": run.record["run"]["seed"],
        "saved": 100 * (1 - seconds / baseline),
        "saved_without": 100 * (1 - without / baseline),
        "by_store": 100 * (seconds_from(first, others[1]) - seconds_from(first, run)) / baseline,
        "predicted": 100 * predicted / baseline,
        "traffic": 100 * math.fsum(seconds_by_epoch(run)) / seconds,
        "points": points,
    }


def predicted(method: Any, results: ExperimentResults) -> float:
    """What the profile predicts that a store saves, in points of the baseline's time.

    The mean over the seeds that have the same inputs without a store on the same machine.
    """
    names = dict(zip(results.summary["method"], results.summary["variant"], strict=True))
    if (without := method.stores.without_store()) not in names:
        return math.nan
    groups = results.table.groupby(["variant", "seed", "machine"])["profile_saved"].mean()
    apart = groups.loc[names[method]] - groups.loc[names[without]]
    return float(apart.groupby("seed").mean().mean())


def seconds_from(first: float, run: RunResult) -> float:
    """Training seconds of the epochs from `first` on."""
    return math.fsum(epoch.train_seconds for epoch in run.epochs if epoch.epoch >= first)
