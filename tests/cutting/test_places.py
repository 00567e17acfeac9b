"""Where networks are cut, found or by hand, and what is refused, with which words."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from fobench.cutting.cut import cut_network
from fobench.cutting.refusals import CannotCutError
from tests.cutting.comparing import images_for, outcome, unlike
from tests.cutting.cuts_of import pair_of
from tests.cutting.networks import (
    CLASSES,
    EXAMPLES,
    Branches,
    ConvNormReLU,
    Pairs,
    Residual,
    SharesWeights,
    Tokens,
    WithNorm,
)

SHAPE = (8, 8, 3)


def names(network: nn.Module, units: str | list[str] = "auto", shape=SHAPE) -> list[str]:
    return [name for name, _ in cut_network(network, shape, units, check=False).named_children()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_units_have_the_size_of_blocks(name):
    assert tuple(each for each, _ in pair_of(name)[1].named_children()) == EXAMPLES[name].units


def test_a_unit_that_is_a_module_is_that_module():
    network = WithNorm()
    cut = cut_network(network, SHAPE, check=False)
    assert cut[0] is network.stem
    assert cut[1] is network.layer1[0]
    assert cut.original is network


def test_children_are_units():
    cut = cut_network(WithNorm(), SHAPE, "children", check=False)
    assert [len(list(unit.parameters())) for unit in cut] == [3, 10, 8, 2]


def test_children_that_are_not_called_are_passed_over():
    network = WithNorm()
    network.unused = nn.Linear(3, 3)
    assert len(names(network, "children")) == 4


def test_units_end_behind_the_modules_at_the_paths():
    network = WithNorm()
    cut = cut_network(network, SHAPE, ["layer1.0", "layer2"])
    assert [len(list(unit.parameters())) for unit in cut] == [3 + 5, 5 + 8, 2]
    twin = copy.deepcopy(network)
    results = outcome(cut, network, images_for(SHAPE)), outcome(twin, twin, images_for(SHAPE))
    assert not unlike(*results)


def test_the_order_of_paths_and_doubles_do_not_matter():
    paths = ["layer2.0", "stem", "stem", "layer1.1", "layer1", "fc"]
    cut = cut_network(WithNorm(), SHAPE, paths, check=False)
    assert [len(list(unit.parameters())) for unit in cut] == [3, 10, 3, 5 + 2]


def test_a_tuple_can_cross_by_hand():
    cut = cut_network(Pairs(), SHAPE, ["blocks.0"])
    assert [tuple(each.shape) for each in cut[0](images_for(SHAPE))] == [(4, 6, 6, 6)] * 2


def test_parameters_of_the_root_are_in_the_unit_that_uses_them_first():
    network = Tokens()
    cut = cut_network(network, (16, 16, 3), check=False)
    first = {id(each) for each in cut[0].parameters()}
    assert {id(each) for each in (*network.tokens, network.positions)} <= first
    # What scales the values between two blocks belongs to the first of them.
    assert id(network.scale) in {id(each) for each in cut[1].parameters()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_parameter_that_gets_a_gradient_is_in_exactly_one_unit(name):
    cut = pair_of(name)[1].train()
    used = outcome(cut, cut.original, images_for(EXAMPLES[name].image_shape)).gradients
    parameters = dict(cut.original.named_parameters())
    for path, gradient in used.items():
        holders = sum(any(each is parameters[path] for each in unit.parameters()) for unit in cut)
        assert holders == 1 or (gradient is None and holders == 0), path


class Network(nn.Module):
    """A stem, blocks and a head; what is between them is up to a function."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 6)
        self.blocks = nn.ModuleList([Residual(6), Residual(6)])
        self.fc = nn.Linear(6, CLASSES)
        self.between = forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.between(self, self.stem(images))
        return self.fc(self.blocks[1](self.blocks[0](images)).mean((2, 3)))


def refusal(network: nn.Module, units: str | list[str] = "auto", **options) -> str:
    with pytest.raises(CannotCutError) as error:
        cut_network(network, SHAPE, units, **options)
    return str(error.value)


FROM_ELSEWHERE = torch.ones(6, 1, 1)


def without_gradients(network, images):
    with torch.no_grad():
        return images * 2


def without_autocast(network, images):
    with torch.autocast("cpu", enabled=False):
        return images * 2


def raising(network, images):
    raise ValueError("no such images")


def drawing_by_python(network, images):
    import random

    return images * 2 if random.random() < 0.99 else images


def drawing_by_numpy(network, images):
    import numpy

    return images * numpy.random.uniform(0.9, 1)


def drawing_on_the_cpu(network, images):
    return images * torch.rand(1, device="cpu").item()


def in_halves(network, images):
    half = len(images) // 2
    parts = images.narrow(0, 0, half), images.narrow(0, half, len(images) - half)
    return torch.cat([part * 2 for part in parts])


REFUSED = {
    "depends on the values in its tensors": lambda _, x: x * 2 if x.mean() > 0 else x,
    r"depends on the values in its tensors \(The register_meta": lambda _, x: x + x[x > 9].sum(),
    r"a tensor of shape \(6, 1, 1\) that comes neither": lambda _, x: x + FROM_ELSEWHERE,
    "draws random numbers that are no tensors": drawing_by_python,
    r"draws random numbers .* such as with random\.random": drawing_by_numpy,
    "draws random numbers .*: do so within its blocks": drawing_on_the_cpu,
    r"switches gradients on or off, as torch\.no_grad\(\) does: use detach": without_gradients,
    "switches autocast on or off: do so within a module": without_autocast,
    "takes the images one by one": lambda _, x: torch.stack([each * 2 for each in x]),
    r"fails on images of 8x8 pixels .*ValueError: no such images \(test_places\.py, line": raising,
    "do not compute what it computes: outputs in training": lambda _, x: x / float(len(x)),
    "compute what it computes: outputs in training mode,": lambda _, x: x * (1 + len(x) % 2),
    r"cannot .*: RuntimeError: shape": lambda _, x: x.view(2, len(x) // 2, 6, 8, 8).flatten(0, 1),
    r"outputs in training mode \(RuntimeError": in_halves,
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_units_would_not_do_again_is_refused(words):
    with pytest.raises(CannotCutError, match=f"^Network.*{words}"):
        cut_network(Network(REFUSED[words]), SHAPE)


def test_a_network_that_fails_only_when_it_learns_is_told_so():
    network = Network(lambda _, x: (x.exp(), x.exp().add_(1))[0].exp().add_(1).exp_())
    assert "fails on images of 8x8 pixels and 3 channels: RuntimeError: one of" in refusal(network)


class AssignsBuffer(Network):
    def __init__(self) -> None:
        super().__init__(self.count)
        self.register_buffer("batches", torch.zeros(1))

    @staticmethod
    def count(network, images):
        network.batches = network.batches + 1
        return images


def test_a_buffer_that_is_assigned_to_is_refused():
    assert "assigns to batches in its forward pass: change it in place" in refusal(AssignsBuffer())


def test_a_network_with_hooks_of_its_own_is_refused():
    network = WithNorm()
    hook = network.register_forward_hook(lambda module, given, result: None)
    assert "it has hooks, which belong to the whole of it: remove them" in refusal(network)
    hook.remove()
    assert len(names(network)) == 6


def test_more_than_scores_in_training_is_refused():
    with pytest.raises(CannotCutError) as error:
        cut_network(Branches(auxiliary=True), (16, 16, 3))
    reason = str(error.value)
    assert reason.startswith("Branches returns a tuple in training mode, not one tensor of class ")
    assert "switch off auxiliary heads, such as with options = {aux_logits = false}" in reason


class Returns(nn.Sequential):
    def __init__(self, make) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
        self.make = make

    def forward(self, images: torch.Tensor) -> object:
        return self.make(super().forward(images))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: x.flatten(2), r"a tensor \[images, 4, 16\], not \[images, classes\]"),
        (lambda x: x.mean((0, 2, 3)), r"a tensor \[4\], not \[images, classes\]"),
        (lambda x: {"scores": x.mean((2, 3))}, "a dict in training mode, not one tensor"),
        (lambda x: [x.mean((2, 3))], "a list in training mode, not one tensor"),
        (lambda x: None, "a NoneType in training mode, not one tensor"),
    ],
)
def test_other_results_are_refused(make, words):
    with pytest.raises(CannotCutError, match=f"^Returns returns {words}"):
        cut_network(Returns(make), SHAPE)


def test_one_layer_is_no_sequence_of_units():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
    assert "nowhere in its forward pass do few values cross. Give places to cut" in refusal(network)


class SharesWithHead(nn.Sequential):
    """The last layer has the weights of the first."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, CLASSES, 1), nn.Conv2d(CLASSES, 4, 1), nn.Conv2d(4, 3, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.linear(super().forward(images).mean((2, 3)), self[0].weight[:, :, 0, 0])


def test_units_that_share_all_weights_are_refused():
    reason = refusal(SharesWithHead())
    assert "cannot be divided into units that freeze apart: they share parameters" in reason
    assert reason.endswith("Untie them")


def test_blocks_that_share_weights_are_one_unit_with_all_between():
    network = SharesWeights()
    cut = cut_network(network, SHAPE)
    assert [name for name, _ in cut.named_children()] == list(EXAMPLES["shares weights"].units)
    network = SharesWeights()
    network.block3.second = network.block1.second
    assert names(network) == ["stem", "block1", "fc"]


@pytest.mark.parametrize(
    ("units", "words"),
    [
        (["layer3"], 'units: WithNorm has no module "layer3"'),
        (["layer1", "layer1.0.relu"], 'units: WithNorm has no module "layer1.0.relu"'),
        (["fc"], "units: behind the last module of WithNorm nothing is left: give one before it"),
        ([], "units: behind the last module of WithNorm nothing is left: give one before it"),
        (
            ["layer1.0.first", "stem"],
            "units: the network cannot be cut behind layer1.0.first: 2 values cross there, of "
            "shapes [(8, 8, 8), (8, 8, 8)], not",
        ),
    ],
)
def test_paths_that_cannot_be_are_named(units, words):
    network = WithNorm()
    if "layer1.0.first" in units:  # the images cross beside, as integers
        network.layer1[0] = KeepsWhole()
    assert words in refusal(network, units)


class KeepsWhole(nn.Module):
    """Adds its rounded images in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        whole = images.int()
        return self.second(self.first(images)) + whole


def test_all_paths_that_cannot_be_are_named_at_once():
    network = WithNorm()
    network.unused = nn.Linear(3, 3)
    reason = refusal(network, ["layer3", "unused", "layer1"])
    assert 'has no module "layer3"' in reason
    assert "units: unused is not called: give another module" in reason


class OtherInEvaluation(WithNorm):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = self.stem(images)
        images = self.layer1(stem)
        images = self.layer2(images + stem if self.training else images)
        return self.fc(images.mean((2, 3)))


class OtherOrder(WithNorm):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        for block in self.layer1 if self.training else reversed(self.layer1):
            images = block(images)
        return self.fc(self.layer2(images).mean((2, 3)))


def test_what_differs_in_evaluation_is_told():
    reason = refusal(OtherInEvaluation(), ["layer1.0"])
    assert "2 values cross in training" in reason or "but [(8, 8, 8)] in evaluation" in reason
    assert "in another order in evaluation mode" in refusal(OtherOrder(), ["layer1.0", "layer1.1"])
    assert len(names(OtherOrder())) < len(names(WithNorm()))
