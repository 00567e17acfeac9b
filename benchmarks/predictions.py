"""How well the profile predicts the training time of runs.

    python benchmarks/predictions.py [OUTPUT.json]

Trains networks of configs/cpu by several schedules, one with stores, for five epochs. The runs
of a network take turns, an epoch each, and after each turn come rounds of the profile, so that a
machine that gets slower or faster does so for all alike. The first epochs, which are equal work,
show by how much it does. It must be quiet, for a quarter of an hour.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import torch

from fobench.activations import plan_file
from fobench.activations.plan import StorePlan
from fobench.costs.flops import flops_saved_percent, paper_saved_percent
from fobench.costs.profile import Profile, Spread
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.split import Data, load
from fobench.experiment import config
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.threads import limit_threads
from fobench.records.epochs import Epoch
from fobench.sweep.plan import plan_all
from fobench.training.loop import train
from fobench.training.predictions import predict
from fobench.training.profiling import Stepper, measure_profile, measure_rounds
from fobench.training.state import Training

CONFIGS = Path(__file__).parents[1] / "configs" / "cpu"
NETWORKS = {"densenet": [], "wideresnet": [], "vgg": ["model.width=0.5"]}
SIZE = [
    "experiment.seeds=[0]",
    "data.train_size=6000",
    "train.epochs=5",
    "train.batch_size=64",
]
SCHEDULES = """
[[method]]
name = "baseline"

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
CPU = torch.device("cpu")
PROFILE_STEPS = 1000  # of a training whose profile is as short as the first one here
ROUNDS_SECONDS = 8.0  # after each turn


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """The runs of a network by our schedules, and their images."""

    runs: Sequence[Run]
    data: Data
    folder: Path


def prepare(network: str, scratch: Path) -> Prepared:
    tables = (CONFIGS / f"{network}.toml").read_text().partition("[[method]]")[0]
    path = scratch / f"{network}.toml"
    path.write_text(tables + SCHEDULES)
    (plan,) = plan_all([config.load(path, SIZE + NETWORKS[network])], scratch, None)
    plan.folder.mkdir()
    data = load(plan.dataset, plan.runs[0].data_used, plan.experiment.data.augment, CPU)
    return Prepared(plan.runs, data, plan.folder)


def train_in_turns(
    prepared: Prepared, plans: Sequence[StorePlan], profile: Profile
) -> tuple[list[list[Epoch]], Profile]:
    """The rows of each run, and the profile with the steps measured between their epochs."""
    trainings = [
        train(Training(run, prepared.data, CPU, plan), Unseen())
        for run, plan in zip(prepared.runs, plans, strict=True)
    ]
    stepper = Stepper(prepared.runs[0], prepared.data)
    rows: list[list[Epoch]] = [[] for _ in trainings]
    visits: list[list[float]] = [[] for _ in profile.steps]
    for turn in range(prepared.runs[0].epochs):
        # Another one comes first in each turn.
        for place in range(len(trainings)):
            index = (turn + place) % len(trainings)
            rows[index].append(next(trainings[index]))
        for found, more in zip(
            visits, measure_rounds(stepper, profile.steps[0].median, ROUNDS_SECONDS), strict=True
        ):
            found += more
    return rows, replace(profile, steps=tuple(map(Spread.of, visits)))


def compare(
    run: Run, profile: Profile, plan: StorePlan, rows: Sequence[Epoch], whole: float
) -> dict[str, Any]:
    """A run's predicted and measured seconds, and time saved by each way to predict it.

    `whole` are the seconds of the baseline.
    """
    predicted, measured = predict(run, profile, plan), rows[-1].total_train_seconds
    costs = unit_costs_of(run)
    return {
        "network": run.model.title(),
        "method": run.method.label(),
        "predicted_seconds": predicted.seconds,
        "measured_seconds": measured,
        "difference_percent": 100 * (predicted.seconds / measured - 1),
        "saved_measured": 100 * (1 - measured / whole),
        "saved_by_profile": predicted.saved_percent,
        "saved_by_flops": flops_saved_percent(run, costs),
        "saved_by_paper": paper_saved_percent(run, costs),
    }


def measure(network: str, scratch: Path) -> dict[str, Any]:
    """The comparisons of a network's runs, and how far their equal first epochs differ."""
    prepared = prepare(network, scratch)
    profile = measure_profile(prepared.runs[0], prepared.data, PROFILE_STEPS)
    plans = [plan_file.plan_of(run, prepared.folder, prepared.data.train) for run in prepared.runs]
    trained, profile = train_in_turns(prepared, plans, profile)
    whole = trained[0][-1].total_train_seconds
    rows = [
        compare(run, profile, plan, rows, whole)
        for run, plan, rows in zip(prepared.runs, plans, trained, strict=True)
    ]
    firsts = [rows[0].train_seconds for rows in trained]
    return {
        "runs": rows,
        "first_epochs_percent": 100 * pstdev(firsts) / fmean(firsts),
    }


def off(values: Sequence[float]) -> dict[str, float]:
    sizes = [abs(value) for value in values]
    return {"median": median(sizes), "worst": max(sizes)}


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/predictions.json")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    limit_threads()
    with tempfile.TemporaryDirectory() as scratch:
        networks = [measure(network, Path(scratch)) for network in NETWORKS]
    rows = [row for each in networks for row in each["runs"]]
    found = {
        "measured": networks,
        "seconds_percent": off([row["difference_percent"] for row in rows]),
        "saved_points": off([row["saved_by_profile"] - row["saved_measured"] for row in rows]),
        "environment": environment.describe(CPU),
    }
    output.write_text(json.dumps(found, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['network']}, {row['method']}: {row['predicted_seconds']:.1f} s predicted, "
            f"{row['measured_seconds']:.1f} s measured ({row['difference_percent']:+.1f} %), "
            f"saved {row['saved_by_profile']:.1f} and {row['saved_measured']:.1f} %"
        )
    print(found["seconds_percent"], found["saved_points"])


if __name__ == "__main__":
    main()
