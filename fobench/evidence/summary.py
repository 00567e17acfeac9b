"""Variants of an experiment, summarised over their seeds."""

import math
from collections.abc import Sequence

import pandas as pd

from fobench.evidence.intervals import columns, mean_interval, speedup, time_saved
from fobench.records.runs import RunResult


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per variant, in order of first appearance, from a `pairs.table`.

    `n` is the number of seeds, `pairs` and `error_pairs` the numbers of seeds whose time or error
    is paired with the baseline's. `saved`, `speedup`, `cpu_saved`, `points` and `relative` (changes
    of the test error) are means over pairs, `error` over all seeds; each has `_low` and `_high`.
    `on_front` is true if no variant is at least as fast and as accurate, and better in one.
    """
    rows = []
    for name, group in runs.groupby("variant", sort=False):
        # Repeats of a seed measure timing noise; they are not further samples of the method.
        measures = ["log_ratio", "cpu_log_ratio", "error_points", "error_relative", "test_error"]
        seeds = group.groupby("seed")[measures].mean()
        log_ratios, cpu_log_ratios, points, relative, errors = (
            seeds[column].dropna().tolist() for column in measures
        )
        timed = group[group["timed"]]
        rows.append(
            {
                "variant": name,
                "method": group.iloc[0]["method"],
                "n": len(errors),
                "pairs": len(log_ratios),
                "error_pairs": len(points),
                "steps": int(group.iloc[0]["steps"]),
                "train_seconds": timed["train_seconds"].mean(),
                "flops_saved": group.iloc[0]["flops_saved"],
            }
            | columns("saved", time_saved(log_ratios))
            | columns("speedup", speedup(log_ratios))
            | columns("cpu_saved", time_saved(cpu_log_ratios))
            | columns("error", mean_interval(errors))
            | columns("points", mean_interval(points))
            | columns("relative", mean_interval(relative))
        )
    found = pd.DataFrame(rows)
    found["on_front"] = pareto([-saved for saved in found["saved"]], found["error"].tolist())
    return found


def pareto(costs: Sequence[float], errors: Sequence[float]) -> list[bool]:
    """Whether each point is on the Pareto front (lower is better); points with NaN never are."""
    points = list(zip(costs, errors, strict=True))

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] <= other[1] and one != other

    return [
        not any(map(math.isnan, point)) and not any(beats(other, point) for other in points)
        for point in points
    ]


def default_target(runs: Sequence[RunResult]) -> float | None:
    """The lowest validation error that all whole baselines end at or below; None without any."""
    ends = [
        run.epochs[-1].val_error
        for run in runs
        if run.id == run.record["baseline"] and run.epochs[-1].val_error is not None
    ]
    return max(ends, default=None)


def seconds_to_error(target: float, run: RunResult) -> float:
    """Training seconds to the end of the first epoch with a validation error of `target` or less.

    Infinite for a run that never reaches it.
    """
    for epoch in run.epochs:
        if epoch.val_error is not None and epoch.val_error <= target:
            return epoch.total_train_seconds
    return math.inf
