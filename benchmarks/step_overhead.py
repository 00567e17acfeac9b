"""What a training step costs outside forward, backward and optimizer.

    python benchmarks/step_overhead.py [OUTPUT.json]

Trains DenseNet-BC 22-12 at batch 64 through fobench's own loop, on the CPU, with the forward
passes, the loss, the backward pass and the optimizer timed from outside. The rest of train_seconds
is overhead: method, order, augmentation, batches, running means, progress.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fobench.activations import frozen_prefix
from fobench.data import split
from fobench.data.dataset import DataSet
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.training import loop, step
from fobench.training.progress import Progress
from fobench.training.state import Training

CONFIG = Path(__file__).parents[1] / "configs" / "cpu" / "densenet.toml"
SIZE = [
    "train.epochs=3",
    "train.batch_size=64",
    "data.dataset=synthetic",
    "data.train_size=3200",
    "data.validation=0",
    "data.test_size=100",
]
CPU = torch.device("cpu")


class Stopwatch:
    """Sums the seconds spent in the functions it wraps, while an epoch trains."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.running = False

    def wrap(self, holder: Any, name: str) -> None:
        """Time the function of that name from now on."""
        function = getattr(holder, name)

        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **options)
            if self.running:
                self.seconds += time.perf_counter() - start
            return result

        setattr(holder, name, timed)

    def run_during(self, holder: Any, name: str) -> None:
        """Count only what is called from the function of that name."""
        function: Callable = getattr(holder, name)

        def watched(*args: Any, **options: Any) -> Any:
            self.running = True
            result = function(*args, **options)
            self.running = False
            return result

        setattr(holder, name, watched)


def watch_the_work() -> Stopwatch:
    stopwatch = Stopwatch()
    stopwatch.run_during(loop, "train_epoch")
    for holder, name in (
        (step, "forward"),
        (frozen_prefix, "forward"),
        (step, "cross_entropy"),
        (torch.Tensor, "backward"),
        (torch.optim.SGD, "zero_grad"),
        (torch.optim.SGD, "step"),
    ):
        stopwatch.wrap(holder, name)
    return stopwatch


def measure(run: Run, dataset: DataSet, stopwatch: Stopwatch) -> dict[str, Any]:
    """Milliseconds a step over a run, and the share of them that is overhead."""
    loaded = split.load(dataset, run.data_used, run.data.augment, CPU)
    stopwatch.seconds = 0.0
    progress = Progress()
    with progress.of(run):
        training = Training(run, loaded, CPU)
        total = sum(row.train_seconds for row in loop.train(training, progress))
    return {
        "run": run.id,
        "steps": run.total_steps,
        "step_milliseconds": 1000 * total / run.total_steps,
        "overhead_milliseconds": 1000 * (total - stopwatch.seconds) / run.total_steps,
        "overhead_percent": 100 * (1 - stopwatch.seconds / total),
    }


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/step_overhead.json")
    experiment = load(CONFIG, SIZE)
    dataset = open_synthetic("synthetic", 3200, 100)
    stopwatch = watch_the_work()
    runs = [
        run
        for run in expand(experiment, dataset)
        if run.seed == 0 and not run.method.matches_time and not run.method.stores.views
    ]
    measured = [measure(run, dataset, stopwatch) for run in runs]
    result = {"measured": measured, "environment": environment.describe(CPU)}
    output.write_text(json.dumps(result, indent=1) + "\n")
    for each in measured:
        print(
            f"{each['run']}: {each['step_milliseconds']:.1f} ms a step, "
            f"{each['overhead_percent']:.2f} % overhead"
        )


if __name__ == "__main__":
    main()
