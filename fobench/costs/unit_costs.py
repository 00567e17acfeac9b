"""The cost of each unit of a network, counted on the meta device."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fobench.experiment.run import Run
from fobench.machine.values import Values, map_values, numel, tensors_of
from fobench.models import NetworkOptions
from fobench.models.user_file import printing_to_stderr

BATCH = 2  # BatchNorm cannot train on a batch of one
FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class UnitCost:
    """A unit's size, and its FLOPs for one image; a multiply-add counts as two.

    `backward_flops` include the gradient of the unit's input, `first_backward_flops` do not. Of a
    tuple only the tensors count that depend on parameters of earlier units. `activation_bytes` is
    the size of its output in float32, of all tensors of a tuple. `convolution_flops` are the part
    of the forward pass's FLOPs that convolutions take.
    """

    name: str
    parameters: int
    flops: int
    backward_flops: int
    first_backward_flops: int
    activation_bytes: int
    convolution_flops: int


@printing_to_stderr()
def unit_costs(network: nn.Sequential, image_shape: Sequence[int]) -> list[UnitCost]:
    """The cost of each unit for images [H, W, C], counted on the meta device."""
    height, width, channels = image_shape
    units = copy.deepcopy(network).to("meta").train()
    x: Values = torch.empty(BATCH, channels, height, width, device="meta")
    costs = []
    for name, unit in units.named_children():
        forward, convolutions, first_backward = count_flops(unit, map_values(torch.detach, x))
        # Of the first unit with a gradient of the images, though no training computes it.
        _, _, backward = count_flops(unit, x if costs else x.clone().requires_grad_())
        x = map_values(as_input, unit(map_values(torch.clone, x)))
        costs.append(
            UnitCost(
                name=name,
                parameters=sum(parameter.numel() for parameter in unit.parameters()),
                flops=forward // BATCH,
                backward_flops=backward // BATCH,
                first_backward_flops=first_backward // BATCH,
                activation_bytes=FLOAT32 * numel(x) // BATCH,
                convolution_flops=convolutions // BATCH,
            )
        )
    return costs


@torch.no_grad()
@printing_to_stderr()
def output_bytes(network: nn.Sequential, image_shape: Sequence[int]) -> int:
    """Bytes of the outputs of all units for one image, in float32; the network is on meta.

    A tensor that units pass on, or of which they return a view, is counted once: a backward pass
    needs so much at least.
    """
    height, width, channels = image_shape
    x: Values = torch.empty(BATCH, channels, height, width, device="meta")
    kept = list[torch.UntypedStorage]()  # all of them, so that none takes another's place
    for unit in network.train():
        x = unit(x)
        kept += [each.untyped_storage() for each in tensors_of(x)]
    return sum({each._cdata: each.nbytes() for each in kept}.values()) // BATCH


def as_input(output: torch.Tensor) -> torch.Tensor:
    """What a unit returned, as an input of the next that requires a gradient if it did."""
    return output.detach().requires_grad_(output.requires_grad)


def count_flops(unit: nn.Module, x: Values) -> tuple[int, int, int]:
    """FLOPs of a unit's forward pass, of the convolutions in it, and of its backward pass."""
    # A copy, as a unit may write to its input in place, which no leaf of the graph allows.
    x = map_values(torch.clone, x)
    with FlopCounterMode(display=False) as forward:
        outputs = tensors_of(unit(x))
    total = forward.get_total_flops()
    convolutions = forward.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0)
    trained = [each for each in outputs if each.requires_grad]
    if not trained:
        return total, convolutions, 0
    with FlopCounterMode(display=False) as backward:
        torch.autograd.backward(trained, [torch.empty_like(each) for each in trained])
    return total, convolutions, backward.get_total_flops()


def unit_costs_of(run: Run) -> list[UnitCost]:
    """The unit costs of a run's network."""
    used = run.data_used
    return costs_of_network(run.model, used.classes, used.image_shape)


def output_bytes_of(run: Run) -> int:
    """The output bytes of a run's network."""
    used = run.data_used
    return output_bytes_of_network(run.model, used.classes, used.image_shape)


Shape = tuple[int, int, int]


@cache
def costs_of_network(model: NetworkOptions, classes: int, image_shape: Shape) -> list[UnitCost]:
    return unit_costs(network_on_meta(model, classes, image_shape), image_shape)


@cache
def output_bytes_of_network(model: NetworkOptions, classes: int, image_shape: Shape) -> int:
    return output_bytes(network_on_meta(model, classes, image_shape), image_shape)


@cache
def network_on_meta(model: NetworkOptions, classes: int, image_shape: Shape) -> nn.Sequential:
    return model.build_on_meta(classes, image_shape)
