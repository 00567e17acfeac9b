"""Estimated time and disk space of the runs of a plan, from a few measured steps."""

from dataclasses import dataclass

import torch

from fobench.activations.frozen_prefix import FrozenPrefix
from fobench.costs.flops import flops_of, step_flops
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.split import Data, Split
from fobench.experiment.run import Run
from fobench.machine.clock import timed
from fobench.machine.threads import limit_threads
from fobench.sweep.plan import Plan
from fobench.training.loop import evaluate
from fobench.training.state import Training
from fobench.training.step import Batch
from fobench.training.warmup import evaluation_batch_size

STEPS = 5
BYTES_PER_EPOCH = 250  # a row of epochs.csv, about
BYTES_PER_UNIT = 200  # an entry of the unit table, about
BYTES_OF_RECORD = 3000  # run.json without its unit table, about
BYTES_PER_PARAMETER = 8  # of a checkpoint: a weight and its momentum
CHECKPOINTS = 3  # of the current run: the last, the previous and the one being written


@dataclass(frozen=True)
class Estimate:
    """Seconds of training and evaluation, and disk space, of the unfinished runs."""

    runs: int
    seconds: float
    disk_bytes: int


def estimate(plan: Plan, device: torch.device, force: bool = False) -> Estimate:
    """Measure a few steps of the plan's network and estimate its unfinished runs from them.

    A run's seconds are those of its steps with nothing frozen, scaled by its FLOPs. Savings by
    stores of activations are ignored.
    """
    due = plan.due(force)
    if not due:
        return Estimate(0, 0.0, 0)
    step_seconds, image_seconds = measure(due[0], device)
    costs = unit_costs_of(due[0])
    seconds, disk_bytes = 0.0, 0
    for run in due:
        share = flops_of(run, costs) / (run.total_steps * step_flops(costs, 0))
        evaluated = run.data_used.validation_images * run.epochs + run.data_used.test_images
        seconds += run.total_steps * step_seconds * share + evaluated * image_seconds
        disk_bytes += BYTES_OF_RECORD + BYTES_PER_UNIT * len(costs) + BYTES_PER_EPOCH * run.epochs
    checkpoints = CHECKPOINTS * BYTES_PER_PARAMETER * sum(each.parameters for each in costs)
    return Estimate(len(due), seconds, disk_bytes + checkpoints)


def measure(run: Run, device: torch.device) -> tuple[float, float]:
    """Seconds of a training step with nothing frozen, and of evaluating an image; random images."""
    limit_threads()
    split = random_images(run, evaluation_batch_size(run, device), device)
    training = Training(run, Data(split, split, split), device)
    length = min(run.train.batch_size, run.data_used.train_images)
    batch = Batch(*split.batch(torch.arange(length, device=device)), FrozenPrefix())

    def train_steps() -> None:
        training.network.train()
        for _ in range(STEPS):
            training.take_step(0, batch)

    # The first of these steps is run to be captured, the second captured.
    train_steps()
    with timed(device) as steps:
        train_steps()
    evaluate(training.network, split, len(split), run.train.precision)
    with timed(device) as evaluation:
        evaluate(training.network, split, len(split), run.train.precision)
    return steps.seconds / STEPS, evaluation.seconds / len(split)


def random_images(run: Run, count: int, device: torch.device) -> Split:
    height, width, channels = run.data_used.image_shape
    return Split(
        images=torch.randint(0, 256, (count, height, width, channels), device=device).byte(),
        labels=torch.zeros(count, dtype=torch.int64, device=device),
        mean=torch.full((channels,), 128.0, device=device),
        std=torch.full((channels,), 64.0, device=device),
    )
