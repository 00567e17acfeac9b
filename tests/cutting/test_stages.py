"""Which modules are looked into, and what counts as weights: stages of many kinds."""

import torch
from torch import nn
from torch.nn import functional

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


class Wraps(nn.Module):
    """Around a backbone, as detectors have it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images)


def test_modules_around_stages_are_looked_into():
    blocks = [f"inner_inner_stage_blocks_{number}" for number in range(4)]
    assert names(Wraps(Wraps(InTurn()))) == ["inner_inner_stem", *blocks, "inner_inner_fc"]


class Straight(nn.Sequential):
    """A block past which nothing goes, with a class of several layers in it."""

    class Norm(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm, self.drop, self.act = nn.BatchNorm2d(width), nn.ReLU(), nn.ReLU()

        def forward(self, images):
            return self.act(self.drop(self.norm(images)))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm = nn.Conv2d(6, 6, 1), Straight.Norm(6)
            self.two = nn.Conv2d(6, 6, 1)

        def forward(self, images):
            return self.two(self.norm(self.one(images)))

    def __init__(self) -> None:
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES)
        super().__init__(ConvNormReLU(3, 6), self.Block(), self.Block(), *head)


def test_blocks_around_several_layers_stay_whole():
    assert names(Straight()) == ["0", "1", "2", "5"]


class Halves(nn.Module):
    """As a stage of PiT: it passes on two views of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Residual(6), Residual(6))

    def forward(self, parts):
        images = self.blocks(torch.cat(parts, 2))
        return images[:, :, :4], images[:, :, 4:]


class OfHalves(nn.Module):
    class Both(nn.Sequential):
        def forward(self, parts):
            for stage in self:
                parts = stage(parts)
            return parts

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stages = ConvNormReLU(3, 6), self.Both(Halves(), Halves())
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images):
        images = self.stem(images)
        return self.fc(torch.cat(self.stages((images[:, :, :4], images[:, :, 4:])), 2).mean((2, 3)))


def test_stages_that_pass_on_views_of_one_tensor_are_looked_into():
    blocks = [f"stages_{stage}_blocks_{number}" for stage in (0, 1) for number in (0, 1)]
    assert names(OfHalves()) == ["stem", *blocks, "fc"]


class Queried(nn.Module):
    """As a stage of GCViT: all blocks are given a query, every second one reads it."""

    class Block(Residual):
        def __init__(self, width: int, reads: bool) -> None:
            super().__init__(width)
            self.reads = reads

        def forward(self, images, query):
            return super().forward(images + query if self.reads else images * 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.query = ConvNormReLU(3, 6), ConvNormReLU(6, 6)
        self.blocks = nn.ModuleList(self.Block(6, number % 2 == 1) for number in range(4))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images):
        images = self.stem(images)
        query = self.query(images)
        for block in self.blocks:
            images = block(images, query)
        return self.fc(images.mean((2, 3)))


def test_blocks_that_are_given_what_they_do_not_read_are_units():
    assert names(nn.Sequential(Queried())) == [
        "0_stem",
        "0_query",
        *(f"0_blocks_{number}" for number in range(4)),
        "0_fc",
    ]


class WithEncoder(nn.Module):
    """A vision transformer of torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.positions = nn.Parameter(torch.randn(1, 16, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.encoder(patches + self.positions).mean(1))


def test_layers_of_torchs_encoder_are_units():
    layers = [f"encoder_layers_{number}" for number in range(3)]
    assert names(WithEncoder()) == ["patches", *layers, "head"]


class OfParameters(nn.Module):
    """Its weights are parameters in a list, which functions multiply by, also transposed."""

    def __init__(self) -> None:
        super().__init__()
        shapes = (6, 192), (6, 6), (6, CLASSES)
        self.weights = nn.ParameterList(torch.randn(shape) / 10 for shape in shapes)

    def forward(self, images):
        images = functional.linear(images.flatten(1), self.weights[0]).relu()
        return (images @ self.weights[1].t()).relu() @ self.weights[2]


def test_parameters_that_functions_multiply_by_are_weights():
    assert names(OfParameters()) == ["weights_0", "weights_1", "weights_2"]
