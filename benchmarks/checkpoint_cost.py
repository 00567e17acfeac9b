"""What checkpoints cost: seconds of saving one beside the seconds of the epoch that it saves.

    python benchmarks/checkpoint_cost.py [OUTPUT.json]

Trains two epochs of the baseline of each config in `configs/cpu/`, on generated images of the same
number and size, through fobench's own loop, and saves a checkpoint after each into a folder beside
the output, so on the same disk as the results would be.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fobench.data import split
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand, images_needed
from fobench.machine import environment
from fobench.training import checkpoint
from fobench.training.loop import train
from fobench.training.progress import Progress
from fobench.training.state import Training

CONFIGS = Path(__file__).parents[1] / "configs" / "cpu"
CPU = torch.device("cpu")
SIZE = ["train.epochs=2", "data.dataset=synthetic", "data.test_size=100"]


def measure(config: Path, folder: Path) -> dict[str, Any]:
    """Seconds of training and of saving, over two epochs of a config's baseline."""
    experiment = load(config, SIZE)
    dataset = open_synthetic("synthetic", images_needed(experiment.data), 100)
    run = expand(experiment, dataset)[0]
    training = Training(run, split.load(dataset, run.data_used, run.data.augment, CPU), CPU)
    train_seconds = save_seconds = 0.0
    progress = Progress()
    with progress.of(run):
        for row in train(training, progress):
            train_seconds += row.train_seconds
            began = time.perf_counter()
            checkpoint.save(folder, {"rows": [asdict(row)], "training": training.state_dict()})
            save_seconds += time.perf_counter() - began
    return {
        "run": run.id,
        "train_seconds": train_seconds,
        "save_seconds": save_seconds,
        "checkpoint_bytes": (folder / checkpoint.LAST).stat().st_size,
        "percent_of_training": 100 * save_seconds / train_seconds,
    }


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/checkpoint_cost.json")
    measured = []
    for config in sorted(CONFIGS.glob("*.toml")):
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            measured.append(measure(config, Path(folder)))
        print("{run}: {percent_of_training:.2f} % of training time".format(**measured[-1]))
    told = {"measured": measured, "environment": environment.describe(CPU)}
    output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
