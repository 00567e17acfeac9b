"""Variants of an experiment, summarised over their seeds."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fobench.evidence.intervals import Interval, columns, mean_interval, speedup, time_saved
from fobench.evidence.line_to_beat import against_fewer_steps
from fobench.records.runs import RunResult

PREDICTED = ["profile_saved", "flops_saved", "paper_saved"]


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per variant, in order of first appearance, from a `pairs.table`.

    `n` is the number of seeds, `pairs` and `error_pairs` the numbers of seeds whose time or error
    is paired with the baseline's, `relative_pairs` those of the latter whose baseline has errors.
    `saved`, `speedup`, `cpu_saved`, `points` and `relative` (changes of the test error) are means
    over pairs, `error` over all seeds; each has `_low` and `_high`. So has `last_error`, that
    of an ensemble's last member alone; NaN for single models. `forward_flops` are those of an
    evaluation, as a multiple of a single model's.
    `profile_saved`, `flops_saved` and `paper_saved` are predictions of the time saved, means over
    the pairs, or over all seeds without any. Without a pair, `saved` and `speedup` are those
    predicted from the profile, without an interval, and `predicted` is true. `on_front` is true
    if no variant is at least as fast and as accurate, and better in one. The columns of
    `against_fewer_steps` compare with the line to beat.
    """
    variants = pd.DataFrame(
        [summary_row(name, group) for name, group in runs.groupby("variant", sort=False)]
    )
    if variants["saved"].notna().any():
        # By definition, also where it has neither a pair nor a prediction.
        whole = variants["method"].map(lambda method: method.is_whole_baseline)
        variants.loc[whole & variants["saved"].isna(), ["saved", "speedup"]] = 0.0, 1.0
    variants["on_front"] = pareto([-saved for saved in variants["saved"]], list(variants["error"]))
    return pd.concat([variants, against_fewer_steps(runs, variants)], axis=1)


def summary_row(name: str, group: pd.DataFrame) -> dict[str, Any]:
    """The columns that follow from a variant's own runs."""
    # Repeats of a seed measure timing noise; they are not further samples of the method.
    measures = ["log_ratio", "cpu_log_ratio", "error_points", "error_relative"]
    measures += ["test_error", "last_error"]
    seeds = group.groupby("seed")[[*measures, *PREDICTED]].mean()
    log_ratios, cpu_log_ratios, points, relative, errors, last_errors = (
        seeds[column].dropna().tolist() for column in measures
    )
    # Of the seeds whose times they stand beside, where there are any.
    paired = seeds.loc[seeds["log_ratio"].notna(), PREDICTED]
    predictions = paired.mean().fillna(seeds[PREDICTED].mean())
    predicted = not log_ratios and not math.isnan(predictions["profile_saved"])
    if predicted:
        times = predicted_times(predictions["profile_saved"])
    else:
        times = columns("saved", time_saved(log_ratios)) | columns("speedup", speedup(log_ratios))
    return {
        "variant": name,
        "method": group.iloc[0]["method"],
        "n": len(errors),
        "pairs": len(log_ratios),
        "error_pairs": len(points),
        "relative_pairs": len(relative),
        "steps": int(group.iloc[0]["steps"]),
        "forward_flops": group["forward_flops"].mean(),
        **predictions,
        "predicted": predicted,
        **times,
        **columns("cpu_saved", time_saved(cpu_log_ratios)),
        **columns("error", mean_interval(errors)),
        **columns("last_error", mean_interval(last_errors)),
        **columns("points", mean_interval(points)),
        **columns("relative", mean_interval(relative)),
    }


def predicted_times(saved: float) -> dict[str, float | None]:
    """Columns of a predicted time saved, in percent, and of the speedup that it means."""
    faster = 100 / (100 - saved)
    return columns("saved", Interval(saved, None, None, 0)) | columns(
        "speedup", Interval(faster, None, None, 0)
    )


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
