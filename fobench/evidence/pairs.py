"""Runs in a table, each paired with its baseline on the same machine."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fobench.experiment.from_record import method_of, variant
from fobench.records.epochs import Epoch
from fobench.records.runs import RunResult


def table(
    runs: Sequence[RunResult], include_resumed: bool = False, against: str = "baseline"
) -> pd.DataFrame:
    """One row per run: its method, seed, test error and time, paired with its baseline's.

    `test_error` is that of the ensemble, where a method trains one; `last_error` is that of the
    ensemble's last member alone, else NaN. `forward_flops` are those of an evaluation, as a
    multiple of a single model's.

    `first_epoch_seconds` is equal work in all runs; NaN if the first epoch is partial or a unit
    froze in it.

    A pair is a run and its baseline on the same machine, each on one host from beginning to end;
    without one, the paired columns are NaN.
    `log_ratio` is log(T(run) / T(its baseline)), `cpu_log_ratio` the same of processor seconds;
    both are also NaN if either run's time does not count, or their images lay in two places.
    `error_points` and `error_relative` (in percent) compare the test errors. `against` is the key
    in the record of the run to pair with: "baseline" or "control".

    `timed` says whether a run's time counts: it was trained `alone` on its machine, and in one
    piece unless `include_resumed`. `profile_saved`, `flops_saved` and `paper_saved` are what was
    predicted of its time saved against the baseline, in percent.
    """
    by_id = {run.id: run for run in runs}
    return pd.DataFrame(
        [table_row(run, by_id.get(run.record.get(against)), include_resumed) for run in runs]
    )


def table_row(run: RunResult, baseline: RunResult | None, include_resumed: bool) -> dict[str, Any]:
    first, last = run.epochs[0], run.epochs[-1]
    return {
        "id": run.id,
        "baseline": run.record["baseline"],
        "variant": variant(run.record),
        "method": method_of(run.record),
        "seed": run.record["run"]["seed"],
        "repeat": run.record["run"]["repeat"],
        "machine": str(machine(run.record)),
        "resumed": is_resumed(run),
        "alone": is_alone(run),
        "timed": is_timed(run, include_resumed),
        "steps": last.step,
        "train_seconds": last.total_train_seconds,
        "cpu_seconds": cpu_seconds(run),
        "first_epoch_seconds": first.train_seconds if is_unfrozen(run, first) else math.nan,
        "test_error": run.test_error,
        "last_error": run.last_member_error,
        "forward_flops": 1.0 if run.ensemble is None else run.ensemble["forward_flops"],
        **predictions(run.record),
        **compare(run, baseline, include_resumed),
    }


def compare(run: RunResult, baseline: RunResult | None, include_resumed: bool) -> dict[str, float]:
    """The columns that compare a run with its baseline."""
    nothing = dict.fromkeys(
        ("log_ratio", "cpu_log_ratio", "error_points", "error_relative"), math.nan
    )
    if baseline is None or machine_of_errors(baseline.record) != machine_of_errors(run.record):
        return nothing
    if has_moved(run.record):  # not even with itself
        return nothing
    error, least = run.test_error, baseline.test_error
    errors = {
        "error_points": error - least,
        "error_relative": 100 * (error / least - 1) if least else math.nan,
    }
    timed = all(is_timed(each, include_resumed) for each in (run, baseline))
    if not timed or machine(baseline.record) != machine(run.record):
        return nothing | errors
    seconds = run.epochs[-1].total_train_seconds, baseline.epochs[-1].total_train_seconds
    return errors | {
        "log_ratio": math.log(seconds[0] / seconds[1]),
        "cpu_log_ratio": log_ratio(cpu_seconds(run), cpu_seconds(baseline)),
    }


def is_unfrozen(run: RunResult, epoch: Epoch) -> bool:
    """Whether a first epoch is complete, with nothing frozen."""
    return not epoch.frozen_units and epoch.step == run.record.get("steps_per_epoch", epoch.step)


def is_resumed(run: RunResult) -> bool:
    return bool(run.record.get("resumed"))


def is_alone(run: RunResult) -> bool:
    """Whether nothing was trained beside it; records of earlier versions do not say so."""
    return bool(run.record.get("timed", True))


def is_timed(run: RunResult, include_resumed: bool) -> bool:
    """Whether a run's time counts."""
    return is_alone(run) and (include_resumed or not is_resumed(run))


def predictions(record: dict[str, Any]) -> dict[str, float]:
    """Predicted time saved in percent: by the profile, by FLOPs, by the paper's estimate."""
    found = record.get("predictions") or {}
    profile = found.get("profile") or {}
    return {
        "profile_saved": profile.get("saved_percent", math.nan),
        "flops_saved": found.get("flops_saved_percent", math.nan),
        "paper_saved": found.get("paper_saved_percent", math.nan),
    }


def cpu_seconds(run: RunResult) -> float:
    """Processor seconds of training; NaN on a GPU, where they are those of a host that waits."""
    if run.record["environment"]["gpu"]:
        return math.nan
    return math.fsum(epoch.train_cpu_seconds for epoch in run.epochs)


def log_ratio(one: float, other: float) -> float:
    return math.log(one / other) if one > 0 and other > 0 else math.nan


def machine(record: dict[str, Any]) -> tuple[Any, ...]:
    """What must be equal to compare two runs' times: that of their errors, and the images' place.

    What is learned does not depend on where the images lie, how fast they are read does.
    """
    # Records of earlier versions, all of them of images on the device, do not say so.
    images = {each.get("images", "device") for each in trained_at(record)}
    return (*machine_of_errors(record), *sorted(images))


def machine_of_errors(record: dict[str, Any]) -> tuple[Any, ...]:
    """What must be equal to compare two runs' errors: machine, ranks, precision, steps, torch.

    Of a run that moved to another host it equals no other's.
    """
    environment = record["environment"]
    keys = ("device", "gpu", "processor", "cores", "threads")
    hosts = {host_share(environment, each) for each in trained_at(record)}
    if has_moved(record):
        hosts.add(record["id"])
    shown = [environment[key] for key in keys]
    # Records of earlier versions, all of them from processors, lack these.
    shown += [environment.get("gpu_uuid"), environment.get("driver")]
    shown += [environment.get("precision", "float32"), environment.get("step", "eager")]
    shown += [ranks_of(environment)]
    return (*sorted(hosts), *shown, environment["versions"]["torch"])


def ranks_of(environment: dict[str, Any]) -> int:
    """How many processes trained a run together; in earlier versions one."""
    return environment.get("ranks", 1)


def trained_at(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a run was trained: where it started, and where it was resumed.

    Not where the test of its ensemble alone remained, which is no part of the training.
    """
    per_epoch, total = record.get("steps_per_epoch", 0), record.get("total_steps", math.inf)
    resumed = record.get("resumed_at", [])
    trained = [each for each in resumed if each.get("epochs", 0) * per_epoch < total]
    return [record["environment"], *trained]


def has_moved(record: dict[str, Any]) -> bool:
    """Whether a run was trained on several hosts."""
    return len({place["host"] for place in trained_at(record)}) > 1


def host_share(environment: dict[str, Any], place: dict[str, Any]) -> str:
    """A host and what a process may use of it, where it started or was resumed.

    Records of earlier versions lack the limits: taken as none.
    """
    quota, allowed = place.get("cpu_quota"), place.get("cpus_allowed")
    return str((place["host"], quota, allowed or environment["cores"]))
