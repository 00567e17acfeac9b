"""Whether a training step costs the same under every method while nothing is frozen.

    python benchmarks/equal_steps.py [OUTPUT.json]

Trains pairs of epochs on the CPU, one by the baseline and one by FreezeOut with t0 = 1, which sets
its rates and freezes nothing; which of the two comes first alternates. The ratio of their times
shows what FreezeOut's own work costs. Prints it with its 95 % interval over the pairs.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fobench.data import split
from fobench.data.dataset import DataSet
from fobench.data.synthetic import open_synthetic
from fobench.evidence.intervals import mean_interval
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.clock import timed
from fobench.methods import BaselineOptions, FreezeOutOptions
from fobench.training.loop import train_epoch
from fobench.training.state import Training

CONFIGS = Path(__file__).parents[1] / "configs" / "cpu"
NETWORKS = {"densenet": [], "wideresnet": [], "vgg": ["model.width=0.5"]}
SIZE = [
    "data.dataset=synthetic",
    "data.train_size=960",
    "data.validation=0",
    "data.test_size=100",
    "train.epochs=100",
    "train.batch_size=64",
]
PAIRS = 24
CPU = torch.device("cpu")


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


def epoch_seconds(training: Training) -> float:
    steps = training.run.steps_per_epoch
    with timed(CPU) as epoch:
        train_epoch(training, training.epoch, steps, Unseen())
    return epoch.seconds


def measure(run: Run, dataset: DataSet) -> dict[str, Any]:
    """Milliseconds of a step by the baseline, and the ratio of FreezeOut's to it, over pairs."""
    loaded = split.load(dataset, run.data_used, run.data.augment, CPU)
    methods = BaselineOptions(), FreezeOutOptions(t0=1.0)
    trainings = [Training(replace(run, method=method), loaded, CPU) for method in methods]
    pairs = []
    for number in range(PAIRS + 1):
        order = (0, 1) if number % 2 else (1, 0)
        seconds = {index: epoch_seconds(trainings[index]) for index in order}
        pairs.append((seconds[0], seconds[1]))
    del pairs[0]  # the first epochs find cold caches
    ratio = mean_interval([math.log(freezeout / baseline) for baseline, freezeout in pairs])
    whole = sum(baseline for baseline, _ in pairs) / (PAIRS * run.steps_per_epoch)
    return {
        "network": run.model.title(),
        "pairs": PAIRS,
        "step_milliseconds": 1000 * whole,
        "ratio_percent": [
            100 * (math.exp(each) - 1) for each in (ratio.mean, ratio.low, ratio.high)
        ],
    }


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/equal_steps.json")
    dataset = open_synthetic("synthetic", 960, 100)
    experiments = [load(CONFIGS / f"{name}.toml", SIZE + own) for name, own in NETWORKS.items()]
    measured = [measure(expand(each, dataset)[0], dataset) for each in experiments]
    result = {"measured": measured, "environment": environment.describe(CPU)}
    output.write_text(json.dumps(result, indent=1) + "\n")
    for each in measured:
        ratio, low, high = each["ratio_percent"]
        print(
            f"{each['network']}: {each['step_milliseconds']:.1f} ms a step; FreezeOut without "
            f"freezing {ratio:+.2f} % ({low:+.2f} to {high:+.2f})"
        )


if __name__ == "__main__":
    main()
