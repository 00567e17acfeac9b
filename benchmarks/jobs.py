"""What two runs at once gain on a machine: images/s of both against one run with all threads.

    python benchmarks/jobs.py [OUTPUT.json]

Trains seeds of the baseline of DenseNet and WideResNet as in configs/cpu, but in batches of 64, on
fewer, generated images and for a few epochs, through `fobench run`: two at once with `--jobs 2`,
and one after another. Which of the two ways comes first alternates from repetition to repetition.
The images/s of both together are summed over runs that train at the same time; the first and the
last epoch of each run, beside which the other may not train, do not count.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from fobench.evidence.intervals import mean_interval
from fobench.machine import environment
from fobench.records.runs import RunResult, read_run

CONFIGS = Path(__file__).parents[1] / "configs" / "cpu"
NETWORKS = ("densenet", "wideresnet")
JOBS = 2
REPETITIONS = 4
SIZE = [
    "experiment.seeds=[0, 1]",
    "data.dataset=synthetic",
    "data.train_size=960",
    "data.validation=0",
    "data.test_size=100",
    "train.epochs=4",
    "train.batch_size=64",
]
ONLY = "_baseline_"
WAYS = {"alone": ("--jobs", "1"), "together": ("--jobs", str(JOBS))}


def trained(network: str, words: tuple[str, ...], folder: Path) -> list[RunResult]:
    """The runs of a network, trained by `fobench run` with these words."""
    program = "from fobench.cli import main; main()"
    sizes = [word for size in SIZE for word in ("--set", size)]
    config = str(CONFIGS / f"{network}.toml")
    command = ["run", config, *sizes, "--only", ONLY, "--device", "cpu", "--results", str(folder)]
    subprocess.run(
        [sys.executable, "-c", program, *command, *words],
        env=os.environ | {"FOBENCH_LOCK": str(folder / "lock")},
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return [read_run(path.parent) for path in sorted(folder.glob("*/*/run.json"))]


def images_per_second(run: RunResult) -> float:
    """Training images per second of training time, without the first and the last epoch."""
    images = run.record["run"]["data_used"]["train_images"]
    between = run.epochs[1:-1]
    return images * len(between) / sum(epoch.train_seconds for epoch in between)


def speeds(network: str, way: str, scratch: Path) -> tuple[float, int]:
    """Images/s of all processes together, and the threads of each."""
    folder = scratch / f"{network}-{way}"
    folder.mkdir()
    runs = trained(network, WAYS[way], folder)
    each = [images_per_second(run) for run in runs]
    total = sum(each) if way == "together" else sum(each) / len(each)
    return total, runs[0].record["environment"]["threads"]


def measure(network: str) -> dict[str, Any]:
    """Images/s either way, and the ratio of both together to one, over the repetitions."""
    measured: dict[str, list[float]] = {way: [] for way in WAYS}
    threads: dict[str, int] = {}
    for number in range(REPETITIONS):
        with tempfile.TemporaryDirectory() as scratch:
            for way in list(WAYS) if number % 2 else reversed(list(WAYS)):
                speed, threads[way] = speeds(network, way, Path(scratch))
                measured[way].append(speed)
    pairs = zip(measured["together"], measured["alone"], strict=True)
    ratio = mean_interval([math.log(together / alone) for together, alone in pairs])
    return {
        "network": network,
        "repetitions": REPETITIONS,
        "threads": threads,
        "images_per_second": measured,
        "ratio": [math.exp(each) for each in (ratio.mean, ratio.low, ratio.high)],
    }


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/jobs.json")
    measured = [measure(network) for network in NETWORKS]
    cpu = torch.device("cpu")
    result = {"measured": measured, "jobs": JOBS, "environment": environment.describe(cpu)}
    output.write_text(json.dumps(result, indent=1) + "\n")
    for each in measured:
        alone, together = (
            sum(each["images_per_second"][way]) / each["repetitions"] for way in WAYS
        )
        ratio, low, high = each["ratio"]
        print(
            f"{each['network']}: {together:.0f} images/s by {JOBS} at once, {alone:.0f} by one: "
            f"{ratio:.2f} times as many ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
