"""What the runs of a plan should take: seconds, time saved, memory and disk. Not their errors."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fobench.activations import plan_file
from fobench.activations.plan import StorePlan
from fobench.costs.flops import flops_saved_percent, images_evaluated, paper_saved_percent
from fobench.costs.profile import KeptProfile
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.split import Data
from fobench.experiment.run import Run
from fobench.methods import MethodOptions
from fobench.sweep.plan import Plan
from fobench.training.optimizer import MOMENTS
from fobench.training.peak_memory import store_bytes
from fobench.training.predictions import Prediction, predict

BYTES_PER_EPOCH = 250  # a row of epochs.csv, about
BYTES_PER_UNIT = 200  # an entry of the unit table, about
BYTES_OF_RECORD = 4000  # run.json without its unit table, about
BYTES_PER_WEIGHT = 4
CHECKPOINTS = 3  # of the current run: the last, the previous and the one being written
ON_DISK = "scratch file"


@dataclass(frozen=True)
class RunPrediction:
    """What a run should take; seconds of `time` are of training, without evaluation."""

    run: Run
    time: Prediction
    eval_seconds: float
    flops_saved_percent: float
    paper_saved_percent: float
    peak_memory_bytes: int
    stores: StorePlan

    @property
    def seconds(self) -> float:
        return self.time.seconds + self.eval_seconds

    @property
    def shorter_baseline_steps(self) -> int:
        """The steps that the baseline could be trained for in the run's time, at most its own."""
        steps = self.run.baseline_run.total_steps
        return min(steps, int(steps * self.time.seconds / self.time.baseline_seconds))

    def as_row(self) -> dict[str, Any]:
        """A row of a table of predictions."""
        return {
            "run": self.run.id,
            "method": self.run.method.label(),
            "seed": self.run.seed,
            "repeat": self.run.repeat,
            "steps": self.run.total_steps,
            "train_seconds": self.time.seconds,
            "eval_seconds": self.eval_seconds,
            "saved_percent": self.time.saved_percent,
            "flops_saved_percent": self.flops_saved_percent,
            "paper_saved_percent": self.paper_saved_percent,
            "peak_memory_bytes": self.peak_memory_bytes,
            "store_place": self.stores.place,
            "store_peak_bytes": self.stores.peak_bytes,
            "shorter_baseline_steps": self.shorter_baseline_steps,
        }


def predict_runs(plan: Plan, data: Data, kept: KeptProfile) -> list[RunPrediction]:
    """What each chosen run should take. Plans of stores are made and kept beside the results."""
    by_method = {replace(run, seed=0, repeat=0): run for run in reversed(plan.chosen)}
    found = {key: predict_run(run, plan, data, kept) for key, run in by_method.items()}
    return [replace(found[replace(run, seed=0, repeat=0)], run=run) for run in plan.chosen]


def predict_run(run: Run, plan: Plan, data: Data, kept: KeptProfile) -> RunPrediction:
    profile, stores = kept.profile, plan_file.plan_of(run, plan.folder, data.train, kept)
    costs = unit_costs_of(run)
    in_memory = store_bytes(stores, data.train.labels.device)
    return RunPrediction(
        run=run,
        time=predict(run, profile, stores),
        eval_seconds=images_evaluated(run) * profile.evaluation,
        flops_saved_percent=flops_saved_percent(run, costs),
        paper_saved_percent=paper_saved_percent(run, costs),
        peak_memory_bytes=profile.peak_memory_bytes + in_memory,
        stores=stores,
    )


def disk_bytes(predictions: list[RunPrediction]) -> int:
    """Bytes of the results of these runs, of checkpoints meanwhile, and of the largest store."""
    if not predictions:
        return 0
    costs = unit_costs_of(predictions[0].run)
    results = sum(
        BYTES_OF_RECORD + BYTES_PER_UNIT * len(costs) + BYTES_PER_EPOCH * each.run.epochs
        for each in predictions
    )
    parameters = sum(each.parameters for each in costs)
    train = predictions[0].run.train
    kept = MOMENTS[train.optimizer](train)
    methods = [each.run.method for each in predictions]
    members = BYTES_PER_WEIGHT * parameters
    most = max(method.ensemble_size if method.ensemble_size > 1 else 0 for method in methods)
    # Of the network, of the optimizer and of snapshots.
    checkpoints = CHECKPOINTS * (1 + kept + most) * members
    results += members * sum(method.ensemble_size for method in methods if method.keeps_members)
    stores = [each.stores for each in predictions]
    on_disk = max((each.peak_bytes for each in stores if each.place == ON_DISK), default=0)
    return results + checkpoints + on_disk


def methods_of(predictions: list[RunPrediction]) -> Iterator[tuple[RunPrediction, int]]:
    """A prediction for each method, which is the same for all its runs, and their number."""
    first: dict[MethodOptions, RunPrediction] = {}
    for each in predictions:
        first.setdefault(each.run.method, each)
    numbers = Counter(each.run.method for each in predictions)
    for method, each in first.items():
        yield each, numbers[method]
