"""Paired comparisons of runs with their baselines, and confidence intervals. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.stats import t as student

from fobench.results import RunResult

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of n values with its Student t interval; no interval for n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean and two-sided Student t interval of independent values; NaN for none."""
    n = len(values)
    if n == 0:
        return Interval(math.nan, None, None, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = student.ppf(0.5 + confidence / 2, n - 1) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)


def time_saved(log_ratios: Sequence[float]) -> Interval:
    """Time saved in percent, from the logs of T(run) / T(its baseline), a pair each.

    The mean and its interval are taken of the logs, where halving and doubling weigh the same.
    """

    def percent(log_ratio: float | None) -> float | None:
        return None if log_ratio is None else 100 * (1 - math.exp(log_ratio))

    of_logs = mean_interval(log_ratios)
    return Interval(percent(of_logs.mean), percent(of_logs.high), percent(of_logs.low), of_logs.n)


def machine(record: dict[str, Any]) -> tuple[Any, ...]:
    """What must agree for two runs' times to be compared: the machine, and torch on it."""
    environment = record["environment"]
    keys = ("host", "device", "gpu", "processor", "cores", "threads")
    return (*(environment[key] for key in keys), environment["versions"]["torch"])


def variant(record: dict[str, Any]) -> str:
    """What runs have in common that differ in seed and repeat alone."""
    run = record["run"]
    return str(
        [run["data_used"], run["model"], run["train"], run["method"], run["data"]["augment"]]
    )


def table(runs: Sequence[RunResult]) -> pd.DataFrame:
    """A row a run: its method, seed, last error and time, paired with its baseline's.

    `log_ratio` is log(T(run) / T(its baseline)), NaN where the baseline is missing or ran on
    another machine.
    """
    by_id = {run.id: run for run in runs}
    return pd.DataFrame([table_row(run, by_id.get(run.record["baseline"])) for run in runs])


def table_row(run: RunResult, baseline: RunResult | None) -> dict[str, Any]:
    method, last = run.record["run"]["method"], run.epochs[-1]
    seconds = last.total_train_seconds
    comparable = baseline is not None and machine(baseline.record) == machine(run.record)
    ratio = seconds / baseline.epochs[-1].total_train_seconds if comparable else math.nan
    return {
        "id": run.id,
        "variant": variant(run.record),
        "method": method["name"],
        "scaling": method.get("scaling"),
        "scale_lr": method.get("scale_lr"),
        "t0": method.get("t0"),
        "epoch_share": method["epoch_share"],
        "seed": run.record["run"]["seed"],
        "repeat": run.record["run"]["repeat"],
        "machine": str(machine(run.record)),
        "train_seconds": seconds,
        "test_error": last.test_error,
        "log_ratio": math.log(ratio),
    }


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a variant, in the order of first appearance: time saved and test error.

    `n` is the number of seeds, `pairs` that of seeds whose time has its baseline's beside it.
    """
    rows = []
    for _, group in runs.groupby("variant", sort=False):
        # Repeats of a seed show the noise of the clock; they are no further sample of the method.
        seeds = group.groupby("seed")[["log_ratio", "test_error"]].mean()
        saved = time_saved(seeds["log_ratio"].dropna().tolist())
        error = mean_interval(seeds["test_error"].tolist())
        first = group.iloc[0]
        kept = ("variant", "method", "scaling", "scale_lr", "t0", "epoch_share")
        rows.append(
            {name: first[name] for name in kept}
            | {"n": error.n, "pairs": saved.n}
            | {"saved": saved.mean, "saved_low": saved.low, "saved_high": saved.high}
            | {"error": error.mean, "error_low": error.low, "error_high": error.high}
        )
    return pd.DataFrame(rows)
