"""Estimated time and disk space of the runs of a plan, from a few measured steps."""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from fobench.costs.flops import flops_of, step_flops
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.split import Split
from fobench.experiment.run import Run
from fobench.machine.clock import timed
from fobench.machine.device import set_determinism
from fobench.machine.threads import limit_threads
from fobench.sweep.plan import Plan
from fobench.training.loop import evaluate
from fobench.training.state import build_network, sgd

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
    set_determinism(run.train.deterministic)
    network = build_network(run).to(device, memory_format=torch.channels_last)
    optimizer = sgd(network.parameters(), run.train)
    batch_size = min(run.train.batch_size, run.data_used.train_images)
    split = random_images(run, batch_size, device)
    images, labels = split.batch(torch.arange(batch_size, device=device))

    def train_steps() -> None:
        network.train()
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(network(images), labels).backward()
            optimizer.step()

    train_steps()
    with timed(device) as training:
        train_steps()
    evaluate(network, split, batch_size)
    with timed(device) as evaluation:
        evaluate(network, split, batch_size)
    return training.seconds / STEPS, evaluation.seconds / batch_size


def random_images(run: Run, count: int, device: torch.device) -> Split:
    height, width, channels = run.data_used.image_shape
    return Split(
        images=torch.randint(0, 256, (count, height, width, channels), device=device).byte(),
        labels=torch.zeros(count, dtype=torch.int64, device=device),
        mean=torch.full((channels,), 128.0, device=device),
        std=torch.full((channels,), 64.0, device=device),
    )
