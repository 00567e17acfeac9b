"""Paired comparisons of runs with their baselines, and confidence intervals. No torch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import pandas as pd
from scipy.stats import t as student

from fobench.config import TrainOptions
from fobench.method_options import METHODS
from fobench.models.families import FAMILIES
from fobench.results import Epoch, RunResult

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of n values with its Student t interval; no interval for n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def through(self, function: Callable[[float], float]) -> "Interval":
        """The interval of a monotone function of the values."""
        ends = [None if end is None else function(end) for end in (self.low, self.high)]
        low, high = ends if None in ends else sorted(ends)
        return Interval(function(self.mean), low, high, self.n)


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
    return mean_interval(log_ratios).through(lambda log_ratio: 100 * (1 - math.exp(log_ratio)))


def speedup(log_ratios: Sequence[float]) -> Interval:
    """T(its baseline) / T(run), from the same logs."""
    return mean_interval(log_ratios).through(lambda log_ratio: math.exp(-log_ratio))


def machine(record: dict[str, Any]) -> tuple[Any, ...]:
    """What must agree for two runs' times to be compared: the machine, and torch on it."""
    environment = record["environment"]
    keys = ("device", "gpu", "processor", "cores", "threads")
    # A run that was resumed elsewhere was timed on several hosts.
    hosts = {environment["host"], *(each["host"] for each in record.get("resumed_at", []))}
    shown = [environment[key] for key in keys]
    return (*sorted(map(str, hosts)), *shown, environment["versions"]["torch"])


def variant(record: dict[str, Any]) -> str:
    """What runs have in common that differ in seed and repeat alone."""
    run, family = record["run"], record["run"]["model"].get("name")
    model = {key: value for key, value in run["model"].items() if key != "title"}
    options = (
        completed(FAMILIES.get(family), model),
        completed(TrainOptions, run["train"]),
        method_options(record),
    )
    kept = {"dataset", "validation", "train_size", "test_size"}
    data = {key: value for key, value in run["data"].items() if key not in kept}
    # Steps too: those of a method that matches time follow from FLOPs, not from its options alone.
    steps = record.get("total_steps")
    return str([steps, *(sorted(each.items()) for each in (run["data_used"], data, *options))])


def method_options(record: dict[str, Any]) -> dict[str, Any]:
    """A run's method with all its options, those included that are younger than the record."""
    method = record["run"]["method"]
    return completed(METHODS.get(method["name"]), method)


def completed(cls: type | None, options: dict[str, Any]) -> dict[str, Any]:
    """Recorded options, with the defaults of those that were not there yet."""
    declared = fields(cls) if cls is not None else ()
    defaults = {each.name: each.default for each in declared if each.default is not MISSING}
    return defaults | options


def table(
    runs: Sequence[RunResult], include_resumed: bool = False, against: str = "baseline"
) -> pd.DataFrame:
    """A row a run: its method, seed, last error and time, paired with its baseline's.

    `first_epoch_seconds` are of equal work in all runs; NaN stands where it is not
    whole, or a unit froze in it.

    A pair is a run and its baseline on the same machine: NaN stands where there is none.
    `log_ratio` is log(T(run) / T(its baseline)), `cpu_log_ratio` the same of processor seconds, and
    both are NaN too where either was resumed, unless `include_resumed`. `error_points` and
    `error_relative` (in percent) compare the test errors. `against` names the entry of the record
    that tells which run to pair with: "baseline" or "control".
    """
    by_id = {run.id: run for run in runs}
    return pd.DataFrame(
        [table_row(run, by_id.get(run.record.get(against)), include_resumed) for run in runs]
    )


def table_row(run: RunResult, baseline: RunResult | None, include_resumed: bool) -> dict[str, Any]:
    first, last = run.epochs[0], run.epochs[-1]
    return {
        "id": run.id,
        "variant": variant(run.record),
        "options": method_options(run.record),
        "seed": run.record["run"]["seed"],
        "repeat": run.record["run"]["repeat"],
        "machine": str(machine(run.record)),
        "resumed": is_resumed(run),
        "timed": include_resumed or not is_resumed(run),
        "steps": last.step,
        "train_seconds": last.total_train_seconds,
        "cpu_seconds": cpu_seconds(run),
        "first_epoch_seconds": first.train_seconds if is_plain(run, first) else math.nan,
        "test_error": last.test_error,
        "flops_saved": run.record.get("predictions", {}).get("flops_saved_percent", math.nan),
        **compared(run, baseline, include_resumed),
    }


def compared(run: RunResult, baseline: RunResult | None, include_resumed: bool) -> dict[str, float]:
    """A run beside its baseline."""
    nothing = dict.fromkeys(
        ("log_ratio", "cpu_log_ratio", "error_points", "error_relative"), math.nan
    )
    if baseline is None or machine(baseline.record) != machine(run.record):
        return nothing
    error, least = run.epochs[-1].test_error, baseline.epochs[-1].test_error
    errors = {
        "error_points": error - least,
        "error_relative": 100 * (error / least - 1) if least else math.nan,
    }
    if not include_resumed and (is_resumed(run) or is_resumed(baseline)):
        return nothing | errors
    seconds = run.epochs[-1].total_train_seconds, baseline.epochs[-1].total_train_seconds
    return errors | {
        "log_ratio": math.log(seconds[0] / seconds[1]),
        "cpu_log_ratio": log_ratio(cpu_seconds(run), cpu_seconds(baseline)),
    }


def is_plain(run: RunResult, epoch: Epoch) -> bool:
    """Whether this first epoch is whole, with nothing frozen."""
    return not epoch.frozen_units and epoch.step == run.record.get("steps_per_epoch", epoch.step)


def is_resumed(run: RunResult) -> bool:
    return bool(run.record.get("resumed"))


def cpu_seconds(run: RunResult) -> float:
    return math.fsum(epoch.train_cpu_seconds for epoch in run.epochs)


def log_ratio(one: float, other: float) -> float:
    return math.log(one / other) if one > 0 and other > 0 else math.nan


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a variant, in the order of first appearance, from a `table`.

    `n` is the number of seeds, `pairs` and `error_pairs` those of seeds whose time or error has its
    baseline's beside it. `saved`, `speedup`, `cpu_saved`, `points` and `relative` (change of the
    test error) are of the pairs, `error` of all seeds; each has `_low` and `_high`. `on_front` says
    whether no variant is at least as fast and as accurate and better in one.
    """
    rows = []
    for name, group in runs.groupby("variant", sort=False):
        # Repeats of a seed show the noise of the clock; they are no further sample of the method.
        columns = ["log_ratio", "cpu_log_ratio", "error_points", "error_relative", "test_error"]
        seeds = group.groupby("seed")[columns].mean()
        log_ratios, cpu_log_ratios, points, relative, errors = (
            seeds[column].dropna().tolist() for column in columns
        )
        timed = group[group["timed"]]
        rows.append(
            {
                "variant": name,
                "options": group.iloc[0]["options"],
                "n": len(errors),
                "pairs": len(log_ratios),
                "error_pairs": len(points),
                "steps": int(group.iloc[0]["steps"]),
                "train_seconds": timed["train_seconds"].mean(),
                "flops_saved": group.iloc[0]["flops_saved"],
            }
            | spread("saved", time_saved(log_ratios))
            | spread("speedup", speedup(log_ratios))
            | spread("cpu_saved", time_saved(cpu_log_ratios))
            | spread("error", mean_interval(errors))
            | spread("points", mean_interval(points))
            | spread("relative", mean_interval(relative))
        )
    found = pd.DataFrame(rows)
    found["on_front"] = pareto([-saved for saved in found["saved"]], found["error"].tolist())
    return found


def spread(name: str, interval: Interval) -> dict[str, float | None]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def pareto(costs: Sequence[float], errors: Sequence[float]) -> list[bool]:
    """Which points no other one matches in both and beats in one; never one with a NaN."""
    points = list(zip(costs, errors, strict=True))

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] <= other[1] and one != other

    return [
        not any(map(math.isnan, point)) and not any(beats(other, point) for other in points)
        for point in points
    ]


def usual_target(runs: Sequence[RunResult]) -> float | None:
    """The validation error that every whole baseline ends at or below; None without any."""
    ends = [
        run.epochs[-1].val_error
        for run in runs
        if run.id == run.record["baseline"] and run.epochs[-1].val_error is not None
    ]
    return max(ends, default=None)


def seconds_to(target: float, run: RunResult) -> float:
    """Training seconds to the end of the first epoch with a validation error of `target` or less.

    Infinite for a run that never gets there.
    """
    for epoch in run.epochs:
        if epoch.val_error is not None and epoch.val_error <= target:
            return epoch.total_train_seconds
    return math.inf
