"""Costs of units that hand over tuples, or write to what they are given, and their seconds."""

from collections import OrderedDict

import torch
from torch import nn

from fobench import models
from fobench.costs.forward_time import forward_seconds
from fobench.costs.unit_costs import unit_costs
from fobench.machine.values import Values, tensors_of
from tests.costs.test_forward_time import BATCH, images
from tests.training.cpu_graphs import CpuGraphs
from tests.tuples import TuplesOptions

IMAGE = (32, 32, 3)


class Joined(nn.Module):
    """A unit of DenseNet that is given features one by one, and hands them over so."""

    def __init__(self, unit: nn.Module, is_layer: bool) -> None:
        super().__init__()
        self.unit, self.is_layer = unit, is_layer

    def forward(self, values: Values) -> Values:
        features = tensors_of(values)
        y = self.unit(torch.cat(features, dim=1))
        return (*features, y[:, sum(each.shape[1] for each in features) :]) if self.is_layer else y


def test_a_tuple_of_features_costs_what_they_cost_in_one_tensor():
    network = models.build("densenet", 10, depth=16, growth_rate=4)
    joined = OrderedDict(
        (name, Joined(unit, "layer" in name)) for name, unit in network.named_children()
    )
    assert sum(each.is_layer for each in joined.values()) == 6
    assert unit_costs(nn.Sequential(joined), IMAGE) == unit_costs(network, IMAGE)


def test_units_that_write_to_their_input_cost_what_others_do():
    """What a unit begins with in place is no leaf, and is as it was when it is counted again."""

    def network(inplace: bool) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Sequential(nn.ReLU(inplace), nn.Conv2d(4, 5, 3, padding=1)),
            nn.Sequential(nn.ReLU(inplace), nn.Flatten(), nn.Linear(5 * 32 * 32, 10)),
        )

    costs = unit_costs(network(True), IMAGE)
    assert costs == unit_costs(network(False), IMAGE)
    assert costs[1].backward_flops == 2 * costs[1].flops > costs[1].first_backward_flops > 0


class Scales(nn.Module):
    """Features of the images, and the images themselves at half their size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2, bias=False)

    def forward(self, x: torch.Tensor) -> Values:
        return self.conv(x), nn.functional.avg_pool2d(x, 2)


class OnEach(nn.Module):
    """A convolution on each of two tensors."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.left, self.right = (nn.Conv2d(each, 5, 1, bias=False) for each in channels)

    def forward(self, values: Values) -> Values:
        left, right = values
        return self.left(left), self.right(right)


def test_only_tensors_that_depend_on_parameters_have_gradients_to_compute():
    """No training computes those of the images at half their size."""
    head = nn.Sequential(Sum(), nn.Flatten(), nn.Linear(5 * 256, 10, bias=False))
    network = nn.Sequential(Scales(), OnEach((4, 3)), OnEach((5, 5)), head)
    first, second, third, last = unit_costs(network, IMAGE)
    assert first.first_backward_flops == first.flops == 2 * 256 * 4 * 3 * 2 * 2
    assert first.activation_bytes == 4 * 256 * (4 + 3)
    left, right = 2 * 256 * 5 * 4, 2 * 256 * 5 * 3
    assert second.flops == second.convolution_flops == left + right
    assert second.backward_flops == 2 * left + right
    assert second.first_backward_flops == left + right
    assert third.backward_flops == 2 * third.flops == 2 * third.first_backward_flops
    assert last.backward_flops == 2 * last.flops == 2 * 2 * 5 * 256 * 10


class Sum(nn.Module):
    """The sum of two tensors, made in the first of them; it has no parameters."""

    def forward(self, values: Values) -> torch.Tensor:
        left, right = values
        return left.add_(right)


def test_a_unit_without_parameters_costs_no_backward_pass_before_those_that_have_some():
    network = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 1, bias=False))
    network.append(nn.Sequential(nn.Flatten(), nn.Linear(4 * 256, 10)))
    pool, conv, _ = unit_costs(network, IMAGE)
    assert (pool.flops, pool.first_backward_flops) == (0, 0)
    assert conv.backward_flops == conv.first_backward_flops == conv.flops > 0


def test_units_that_hand_over_tuples_have_their_own_seconds():
    """Run one by one, and replayed as graphs."""
    network = TuplesOptions().build(10, (8, 8, 3)).eval()
    for graphs in (None, CpuGraphs(torch.device("cpu"))):
        pixels, forward = forward_seconds(network, images(BATCH), BATCH, graphs, seconds=0.01)
        assert len(forward) == len(network)
        assert min(pixels, *forward) > 0
        assert graphs is None or graphs._captures == len(network) + 1
