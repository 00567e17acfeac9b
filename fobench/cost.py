"""What each unit costs, and what a method should therefore save."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fobench import methods, models
from fobench.run import Run

BACKWARD = 2  # a backward pass costs the gradients of inputs and of weights, a forward pass each


@dataclass(frozen=True)
class UnitCost:
    """A unit's size and work: FLOPs of one image's forward pass (two a multiply-add), and the
    bytes of what it hands on for one image, in float32."""

    name: str
    parameters: int
    flops: int
    activation_bytes: int


def unit_costs(network: nn.Sequential, image_shape: Sequence[int]) -> list[UnitCost]:
    """The cost of each unit for images of [H, W, C]; computed on shapes alone."""
    height, width, channels = image_shape
    units = copy.deepcopy(network).to("meta").eval()
    x = torch.empty(1, channels, height, width, device="meta")
    costs = []
    for name, unit in units.named_children():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            x = unit(x)
        parameters = sum(parameter.numel() for parameter in unit.parameters())
        flops = counter.get_total_flops()
        costs.append(UnitCost(name, parameters, flops, x.numel() * x.element_size()))
    return costs


def step_flops(flops: Sequence[float], frozen: int) -> float:
    """FLOPs of one image's training step with the first `frozen` units frozen.

    All units run forward. The active ones run backward, the first of them for the gradient of its
    weights alone.
    """
    return sum(flops) + BACKWARD * sum(flops[frozen + 1 :]) + flops[frozen]


def run_flops(flops: Sequence[float], freeze_steps: Sequence[int], total_steps: int) -> float:
    """FLOPs of a whole training of one image a step, by where each step's backward pass ends."""
    changes = sorted({0, total_steps, *(step for step in freeze_steps if step < total_steps)})
    return sum(
        (end - start) * step_flops(flops, sum(step <= start for step in freeze_steps))
        for start, end in pairwise(changes)
    )


def saved_flops(run: Run, flops: Sequence[float]) -> float:
    """The share of its baseline's FLOPs that a run saves, in percent (negative if it adds)."""
    freeze_steps = methods.freeze_steps(run, len(flops))
    baseline = run.its_baseline
    whole = run_flops(flops, methods.freeze_steps(baseline, len(flops)), baseline.total_steps)
    return 100 * (1 - run_flops(flops, freeze_steps, run.total_steps) / whole)


def describe(run: Run) -> dict[str, Any]:
    """The unit table and the predicted saving, as they stand in run.json."""
    with torch.device("meta"):
        used = run.data_used
        network = models.build(run.family, used.classes, used.image_shape[2], **vars(run.model))
    costs = unit_costs(network, used.image_shape)
    freeze_steps = methods.freeze_steps(run, len(costs))
    return {
        "units": [
            {**asdict(cost), "freeze_step": step if step < run.total_steps else None}
            for cost, step in zip(costs, freeze_steps, strict=True)
        ],
        "predictions": {"flops_saved_percent": saved_flops(run, [cost.flops for cost in costs])},
    }
