"""What units share, and what is said of units that are large: parameters, memory, constants."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import SGD

from fobench.cutting.cut import cut_network
from fobench.cutting.refusals import CannotCutError
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual, SharesWeights, WithNorm

SHAPE = (8, 8, 3)


class ScalesAll(nn.Module):
    """A parameter that all blocks read, and in evaluation mode the root alone."""

    def __init__(self, trains: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 0.9), requires_grad=trains)
        self.stem, self.blocks = ConvNormReLU(3, 6), nn.Sequential(Residual(6), Residual(6))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        for block in self.blocks:
            images = block(images) * self.scale
        return self.fc(images.mean((2, 3)) * self.scale)


def test_units_share_a_parameter_that_does_not_train():
    """It is in no unit's parameters, as an optimizer takes each once."""
    cut = cut_network(ScalesAll(trains=False), SHAPE)
    assert [name for name, _ in cut.named_children()] == ["stem", "blocks_0", "blocks_1", "fc"]
    SGD([{"params": unit.parameters()} for unit in cut], lr=0.1)
    cut.double()
    assert cut(torch.randn(2, 3, 8, 8).double()).dtype == torch.float64
    assert len(cut_network(ScalesAll(trains=True), SHAPE)) == 3


def tie(network: WithNorm) -> tuple[nn.Parameter, nn.Parameter]:
    one, other = network.layer1[0].second.weight, network.layer1[1].second.weight
    other.data = one.data
    return one, other


def test_two_parameters_in_one_memory_are_refused_if_one_trains():
    network = WithNorm()
    one, other = tie(network)
    one.requires_grad_(False)
    with pytest.raises(CannotCutError, match="two tensors in the same memory") as error:
        cut_network(network, SHAPE)
    assert "layer1.0.second.weight and layer1.1.second.weight" in str(error.value)
    other.requires_grad_(False)
    assert len(cut_network(network, SHAPE, check=False)) == 6


def test_a_buffer_in_the_memory_of_a_parameter_that_trains_is_refused():
    network = WithNorm()
    weight = network.layer1[0].second.weight
    network.register_buffer("average", weight.data)
    with pytest.raises(CannotCutError, match="two tensors in the same memory") as error:
        cut_network(network, SHAPE)
    assert "average" in str(error.value)
    network.average = weight.data.clone()
    network.register_buffer("first", network.average[:1])
    assert len(cut_network(network, SHAPE, check=False)) == 6


def test_parameters_that_lie_beside_each_other_in_one_memory_are_not():
    network = WithNorm()
    vector_to_parameters(parameters_to_vector(network.parameters()), network.parameters())
    assert len(cut_network(network, SHAPE, check=False)) == 6


def note_on(network: nn.Module, units: str | list[str] = "auto") -> str:
    (note,) = cut_network(network, SHAPE, units, check=False).notes
    return note


def test_a_note_on_a_large_unit_says_where_its_parameters_are_or_what_to_do():
    assert cut_network(WithNorm(), SHAPE, check=False).notes == ()
    note = note_on(WithNorm(), ["stem"])
    assert note.startswith("unit layer1 holds 9")
    assert note.endswith("in units to cut behind them, such as layer1 or layer2")
    note = note_on(nn.Sequential(ConvNormReLU(3, 4), nn.Flatten(), nn.Linear(256, CLASSES)))
    assert note.endswith("little can freeze before it does: most of them are one tensor, 2.weight")
    network = SharesWeights()
    network.block3.second = network.block1.second
    assert note_on(network).endswith("freeze before it does: its blocks share parameters")


def test_what_does_not_train_makes_no_unit_large():
    """Of layer1 only a norm trains: its convolutions never would have frozen."""
    network = WithNorm()
    assert "layer1" in note_on(network, ["stem"])
    for convolution in (each for each in network.modules() if isinstance(each, nn.Conv2d)):
        convolution.requires_grad_(False)
    assert cut_network(network, SHAPE, check=False).notes == ()
