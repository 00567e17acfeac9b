"""What stores of activations saved, beside the same run without them."""

import math

import pandas as pd

from fobench.evidence.intervals import columns, mean_interval
from fobench.evidence.pairs import machine
from fobench.evidence.results import ExperimentResults
from fobench.records.runs import RunResult


def seconds_by_epoch(run: RunResult) -> list[float]:
    """Seconds of building and reading stores within the training time of each epoch."""
    store = run.record.get("store")
    if store is None:
        return [0.0] * len(run.epochs)
    return [sum(each) for each in zip(store["build_seconds"], store["read_seconds"], strict=True)]


def summary(results: ExperimentResults) -> pd.DataFrame:
    """A row a variant that stores activations; none without such a variant.

    Over its `n` seeds, each paired with its baseline and with the run that sees the same inputs and
    stores nothing, on the same machine, and of which `timed` have times that count: `saved` and
    `saved_without`, the time saved with and without the store; `by_store`, what the store saved, in
    percent of the baseline's time, measured by the epochs from the first build on, as the earlier
    ones are of equal work; `predicted`, what the plan says of it; `traffic`, the share of the
    training time that building and reading took, in percent; `points`, by how many points the store
    changed the test error. Each but the counts has `_low` and `_high`.
    """
    by_id = {run.id: run for run in results.runs}
    timed = {run.id for run in results.timed(results.runs)}
    rows = []
    for row, runs in results.variants():
        if not row["method"].stores.precompute:
            continue
        pairs = [compared(run, by_id, timed) for run in runs]
        table = pd.DataFrame([pair for pair in pairs if pair is not None], columns=COLUMNS)
        seeds = table.groupby("seed").mean()
        timed_seeds = seeds["saved"].count()
        found = {"method": row["method"], "n": len(seeds), "timed": timed_seeds}
        for column in COLUMNS[1:]:
            found |= columns(column, mean_interval(seeds[column].dropna().tolist()))
        rows.append(found)
    return pd.DataFrame(rows)


COLUMNS = ["seed", "saved", "saved_without", "by_store", "predicted", "traffic", "points"]


def compared(
    run: RunResult, by_id: dict[str, RunResult], timed: set[str]
) -> dict[str, float] | None:
    """A run beside its baseline and the run without a store; None where either is missing.

    Of runs whose times do not count, as they were resumed, the errors alone.
    """
    others = [by_id.get(run.record[key]) for key in ("baseline", "uncached")]
    if None in others or len({machine(each.record) for each in (run, *others)}) > 1:
        return None
    points = run.epochs[-1].test_error - others[1].epochs[-1].test_error
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


def seconds_from(first: float, run: RunResult) -> float:
    """Training seconds of the epochs from `first` on."""
    return math.fsum(epoch.train_seconds for epoch in run.epochs if epoch.epoch >= first)
