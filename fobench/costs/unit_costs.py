"""The cost of each unit of a network, counted on the meta device."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fobench.experiment.run import Run
from fobench.models import ModelOptions

BATCH = 2  # BatchNorm cannot train on a batch of one


@dataclass(frozen=True)
class UnitCost:
    """A unit's size, and its FLOPs for one image; a multiply-add counts as two.

    `backward_flops` include the gradient of the unit's input, `first_backward_flops` do not.
    `activation_bytes` is the size of its output in float32. `convolution_flops` are the part of the
    forward pass's FLOPs that convolutions take.
    """

    name: str
    parameters: int
    flops: int
    backward_flops: int
    first_backward_flops: int
    activation_bytes: int
    convolution_flops: int


def unit_costs(network: nn.Sequential, image_shape: Sequence[int]) -> list[UnitCost]:
    """The cost of each unit for images [H, W, C], counted on the meta device."""
    height, width, channels = image_shape
    units = copy.deepcopy(network).to("meta").train()
    x = torch.empty(BATCH, channels, height, width, device="meta")
    costs = []
    for name, unit in units.named_children():
        forward, convolutions, first_backward = count_flops(unit, x)
        _, _, backward = count_flops(unit, x.requires_grad_())
        x = unit(x).detach()
        costs.append(
            UnitCost(
                name=name,
                parameters=sum(parameter.numel() for parameter in unit.parameters()),
                flops=forward // BATCH,
                backward_flops=backward // BATCH,
                first_backward_flops=first_backward // BATCH,
                activation_bytes=x[0].numel() * x.element_size(),
                convolution_flops=convolutions // BATCH,
            )
        )
    return costs


def count_flops(unit: nn.Module, x: torch.Tensor) -> tuple[int, int, int]:
    """FLOPs of a unit's forward pass, of the convolutions in it, and of its backward pass."""
    with FlopCounterMode(display=False) as forward:
        y = unit(x)
    total = forward.get_total_flops()
    convolutions = forward.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0)
    if not y.requires_grad:
        return total, convolutions, 0
    with FlopCounterMode(display=False) as backward:
        y.backward(torch.empty_like(y))
    return total, convolutions, backward.get_total_flops()


def unit_costs_of(run: Run) -> list[UnitCost]:
    """The unit costs of a run's network."""
    used = run.data_used
    return costs_of_network(run.model, used.classes, used.image_shape)


@cache
def costs_of_network(
    model: ModelOptions, classes: int, image_shape: tuple[int, int, int]
) -> list[UnitCost]:
    return unit_costs(model.build_on_meta(classes, image_shape), image_shape)
