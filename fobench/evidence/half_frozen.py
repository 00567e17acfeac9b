"""The time of a training step with half of the units frozen, as a share of one with none."""

import math
from collections.abc import Iterator

from fobench.evidence.intervals import Interval, mean_interval
from fobench.evidence.results import ExperimentResults
from fobench.records.epochs import Epoch
from fobench.records.runs import RunResult

# Shares of the units that count as half, where a profile was not measured.
LEAST, MOST = 0.45, 0.60


def profile_ratios(results: ExperimentResults) -> dict[str, float]:
    """The ratio of each profile that the runs were predicted from, by the name of its file."""
    profiles = {}
    for run in results.runs:
        profile = (run.record.get("predictions") or {}).get("profile")
        if profile:
            profiles[profile["file"]] = profile["step_seconds"]
    return {file: seconds[len(seconds) // 2] / seconds[0] for file, seconds in profiles.items()}


def epoch_ratios(results: ExperimentResults) -> Interval:
    """The ratio of epochs with about half of the units frozen, over seeds.

    Of each seed, the mean over such epochs of all its timed runs without stores: their seconds
    against the mean of the complete epochs of the run's baseline on the same machine.
    """
    by_id = {run.id: run for run in results.runs}
    table = results.table[results.table["log_ratio"].notna()]
    seeds: dict[int, list[float]] = {}
    for run_id, method, seed in table[["id", "method", "seed"]].itertuples(index=False):
        run = by_id[run_id]
        if method.stores.precompute:
            continue
        baseline = [row.train_seconds for _, row in complete_epochs(by_id[run.record["baseline"]])]
        units = len(run.record["units"])
        seeds.setdefault(seed, []).extend(
            row.train_seconds / mean(baseline)
            for before, row in complete_epochs(run)
            if is_about_half(before, row.frozen_units, units)
        )
    return mean_interval([mean(ratios) for ratios in seeds.values() if ratios])


def complete_epochs(run: RunResult) -> Iterator[tuple[int, Epoch]]:
    """The epochs of all steps, each with the number of units that were frozen as it began."""
    step = frozen = 0
    for row in run.epochs:
        if row.step - step == run.record["steps_per_epoch"]:
            yield frozen, row
        step, frozen = row.step, row.frozen_units


def is_about_half(before: int, after: int, units: int) -> bool:
    """Whether the frozen share stays close to half from an epoch's start to its end."""
    return LEAST * units <= before <= after <= MOST * units


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
