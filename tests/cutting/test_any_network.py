"""Random networks of a few kinds of blocks: their units compute what they compute."""

import copy

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fobench.cutting.cut import cut_network
from tests.cutting.comparing import images_for, outcome, unlike
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 2), nn.Linear(2, width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = self.up(self.down(images.mean((2, 3))).relu_()).sigmoid()
        return images * scale[:, :, None, None]


class MixesTokens(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(tokens, tokens)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(images.permute(0, 2, 3, 1)).flatten(1, 2).transpose(1, 2)
        return images + self.mix(tokens).reshape(images.shape)


# Each block is a module, or what the root does by itself with the images and its layers.
KINDS = ("conv", "residual", "own residual", "dense", "squeeze", "tokens", "shuffle")
KINDS += ("dropout", "own dropout", "relu", "own relu", "own scale", "own mean")


class Generated(nn.Module):
    def __init__(self, kinds: list[str], width: int, size: int) -> None:
        super().__init__()
        self.kinds, self.layers = kinds, nn.ModuleList()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.scales = nn.ParameterList()
        for kind in kinds:
            if kind == "residual":
                layer = Residual(width, dropout=0.2)
            elif kind in ("conv", "own residual", "own mean"):
                layer = ConvNormReLU(width, width)
            elif kind == "dense":
                layer = ConvNormReLU(width, 2)
                width += 2
            elif kind == "squeeze":
                layer = SqueezeExcite(width)
            elif kind == "tokens":
                layer = MixesTokens(size * size, width)
            else:
                layer = {"dropout": nn.Dropout(0.2), "relu": nn.ReLU(inplace=True)}.get(kind)
                layer = layer or nn.Identity()
            self.scales.append(torch.rand(width, 1, 1) if kind == "own scale" else torch.ones(1))
            self.layers.append(layer)
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        for kind, layer, scale in zip(self.kinds, self.layers, self.scales, strict=True):
            if kind == "own residual":
                images = images + layer(images)
            elif kind == "dense":
                images = torch.cat([images, layer(images)], 1)
            elif kind == "own mean":
                images, mean = layer(images), images.mean(1, keepdim=True)
                images = images - mean
            elif kind == "relu":  # in place, which must change nothing that a gradient needs
                images = layer(images + 0)
            elif kind == "shuffle":
                images = torch.cat(images.chunk(2, 1)[::-1], 1)
            elif kind == "own dropout":
                images = functional.dropout(images, 0.1, self.training)
            elif kind == "own relu":
                images = functional.relu(images + 0, inplace=True)
            elif kind == "own scale":
                images = images * scale
            else:
                images = layer(images)
        return self.fc(images.mean((2, 3)))


def compare(kinds: list[str], width: int, size: int, count: int) -> None:
    torch.manual_seed(0)
    network = Generated(kinds, width, size)
    images = images_for((size, size, 3), count)
    cut = cut_network(network, (size, size, 3), check=False)
    for training in (True, False):
        whole, units = (copy.deepcopy(each).train(training) for each in (network, cut))
        expected = outcome(whole, whole, images)
        assert not unlike(expected, outcome(units, units.original, images))
    held = [id(each) for unit in cut for each in unit.parameters()]
    used = {
        id(each)
        for name, each in network.named_parameters()
        if expected.gradients[name] is not None
    }
    assert len(held) == len(set(held))
    assert used <= set(held)
    assert len(cut) >= 2


NETWORKS = {
    "kinds": st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    "width": st.sampled_from([2, 3, 6]),
    "size": st.sampled_from([2, 5]),
    "count": st.sampled_from([2, 3]),
}
REPEATABLE = {"deadline": None, "derandomize": True, "database": None}


@settings(max_examples=15, phases=[Phase.generate], **REPEATABLE)
@given(**NETWORKS)
def test_units_of_random_networks_compute_what_they_do_and_hold_all_parameters(**options):
    compare(**options)


@pytest.mark.slow
@settings(max_examples=400, **REPEATABLE)
@given(**NETWORKS)
def test_units_of_many_random_networks_do(**options):
    compare(**options)
