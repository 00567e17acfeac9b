"""How well the profile predicts the training time of runs.

    python benchmarks/predictions.py [OUTPUT.json]

Trains the networks of configs/cpu by five schedules and one with stores, through `fobench run`,
which profiles each network first and writes what it predicts to run.json. Compares that with the
seconds measured. The machine must be quiet: about a quarter of an hour.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from fobench.experiment.from_record import method_of
from fobench.machine import environment
from fobench.records.experiments import read_experiment
from fobench.records.runs import RunResult

CONFIGS = Path(__file__).parents[1] / "configs" / "cpu"
NETWORKS = ("densenet", "wideresnet", "vgg")
SIZE: list[str] = []
SCHEDULES = """
[[method]]
name = "baseline"
epoch_share = [1.0, 0.7]

[[method]]
name = "freezeout"
scaling = "cubic"
t0 = [0.5, 0.8]

[[method]]
name = "freezeout"
scaling = "linear"
scale_lr = false
t0 = 0.5

[[method]]
name = "freezeout"
scaling = "squared"
t0 = 0.7

[[method]]
name = "freezeout"
t0 = 0.5
views = 2
precompute = true
"""


def config_of(network: str) -> str:
    """The committed config of a network, for one seed and with our schedules."""
    tables = (CONFIGS / f"{network}.toml").read_text().partition("[[method]]")[0]
    return tables.replace("seeds = [0, 1, 2]", "seeds = [0]") + SCHEDULES


def train(network: str, folder: Path) -> list[RunResult]:
    config = folder / f"{network}.toml"
    config.write_text(config_of(network))
    fobench = [sys.executable, "-c", "from fobench.cli import main; main()"]
    overrides = [word for each in SIZE for word in ("--set", each)]
    words = ["run", str(config), "--results", str(folder), *overrides]
    subprocess.run([*fobench, *words], check=True)
    runs, _ = read_experiment(folder / f"cpu-{network}")
    return runs


def compare(run: RunResult, baseline: RunResult) -> dict[str, Any]:
    """A run's predicted and measured seconds, and time saved by each way to predict it."""
    predictions, record = run.record["predictions"], run.record
    seconds = run.epochs[-1].total_train_seconds
    profile = predictions["profile"]
    return {
        "network": record["run"]["model"]["title"],
        "method": method_of(record).label(),
        "predicted_seconds": profile["seconds"],
        "measured_seconds": seconds,
        "difference_percent": 100 * (profile["seconds"] / seconds - 1),
        "saved_measured": 100 * (1 - seconds / baseline.epochs[-1].total_train_seconds),
        "saved_by_profile": profile["saved_percent"],
        "saved_by_flops": predictions["flops_saved_percent"],
        "saved_by_paper": predictions["paper_saved_percent"],
    }


def measure(network: str, folder: Path) -> list[dict[str, Any]]:
    runs = train(network, folder)
    by_id = {run.id: run for run in runs}
    return [compare(run, by_id[run.record["baseline"]]) for run in runs]


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/predictions.json")
    with tempfile.TemporaryDirectory() as scratch:
        measured = [row for network in NETWORKS for row in measure(network, Path(scratch))]
    differences = [abs(row["difference_percent"]) for row in measured]
    found = {
        "measured": measured,
        "median_percent": median(differences),
        "worst_percent": max(differences),
        "environment": environment.describe(torch.device("cpu")),
    }
    output.write_text(json.dumps(found, indent=1) + "\n")
    for row in measured:
        print(
            f"{row['network']}, {row['method']}: {row['predicted_seconds']:.1f} s predicted, "
            f"{row['measured_seconds']:.1f} s measured ({row['difference_percent']:+.1f} %)"
        )
    print(f"median {found['median_percent']:.1f} %, worst {found['worst_percent']:.1f} %")


if __name__ == "__main__":
    main()
