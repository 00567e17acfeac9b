"""Stages whose blocks are of several classes in turn, or read and change lists of tensors."""

import torch
from torch import nn

from fobench.cutting.cut import cut_network
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual

SHAPE = (8, 8, 3)


class Narrow(Residual):
    """A block of a class of its own."""


class Stage(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([block(width) for block in (Residual, Narrow) * 2])

    def forward(self, images):
        for block in self.blocks:
            images = block(images)
        return images


class InTurn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stage = ConvNormReLU(3, 6), Stage(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images):
        return self.fc(self.stage(self.stem(images)).mean((2, 3)))


class ChangesItsList(nn.Module):
    """As the blocks of HRNet: what it makes replaces what it was given in the list."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)])

    def forward(self, images):
        for number, branch in enumerate(self.branches):
            images[number] = branch(images[number])
        return [images[0] + images[1], images[1]]


class OfLists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = ConvNormReLU(3, 6), ChangesItsList(), ChangesItsList()
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images):
        images = self.stem(images)
        images = self.second(self.first([images, images * 2]))
        return self.fc((images[0] + images[1]).mean((2, 3)))


def names(network: nn.Module) -> list[str]:
    torch.manual_seed(0)
    return [name for name, _ in cut_network(network, SHAPE, check=True).named_children()]


def test_blocks_of_two_classes_in_turn_are_units():
    blocks = [f"stage_blocks_{number}" for number in range(4)]
    assert names(InTurn()) == ["stem", *blocks, "fc"]


def test_blocks_that_change_the_list_that_they_get_are_units():
    assert names(OfLists()) == ["stem", "first", "second", "fc"]
