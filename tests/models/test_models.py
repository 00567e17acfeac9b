"""The networks against the literature's numbers, and their units as the design cuts them."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, max_pool2d, relu

from fobench import models
from tests.networks import EXAMPLES


def build_small(name: str, classes: int = 10, channels: int = 3, **options) -> nn.Sequential:
    torch.manual_seed(0)
    return models.build(name, classes, channels, **EXAMPLES[name] | options)


def test_each_family_has_an_example_for_the_tests():
    assert set(EXAMPLES) == set(models.FAMILIES), "add the family to tests/networks.py"


@pytest.mark.parametrize(
    ("name", "options", "classes", "units", "parameters"),
    [
        ("densenet", {"depth": 76, "growth_rate": 12}, 100, 40, 510_040),
        ("densenet", {"depth": 100, "growth_rate": 12}, 100, 52, 800_032),
        ("densenet", {"depth": 100, "growth_rate": 12}, 10, 52, 769_162),
        ("densenet", {"depth": 22, "growth_rate": 12}, 10, 13, None),
        ("wideresnet", {"depth": 40, "width": 4}, 100, 20, 8_972_340),
        ("wideresnet", {"depth": 28, "width": 10}, 10, 14, 36_479_194),
        ("wideresnet", {"depth": 28, "width": 10}, 100, 14, 36_536_884),
        ("vgg", {}, 100, 14, 15_297_572),
    ],
)
def test_a_network_has_the_known_units_and_parameters(name, options, classes, units, parameters):
    with torch.device("meta"):
        network = models.build(name, classes, **options)
    assert isinstance(network, nn.Sequential)
    assert len(network) == units
    if parameters:
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_densenet_units_are_named_by_what_they_are():
    network = models.build("densenet", 10, depth=16, growth_rate=4)
    assert [name for name, _ in network.named_children()] == [
        "conv", "block1_layer1", "block1_layer2", "transition1", "block2_layer1",
        "block2_layer2", "transition2", "block3_layer1", "block3_layer2", "head",
    ]  # fmt: skip


class Layers:
    """A network's weights in order, taken by layers written out with torch's functions."""

    def __init__(self, network: nn.Sequential) -> None:
        self._values = iter(network.state_dict().values())

    def take(self, count: int) -> list[torch.Tensor]:
        return [next(self._values) for _ in range(count)]

    def conv(self, x: torch.Tensor, **options) -> torch.Tensor:
        return conv2d(x, *self.take(1), **options)

    def norm_relu(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias, mean, variance, _ = self.take(5)
        return relu(batch_norm(x, mean, variance, weight, bias, training=False))

    def linear(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, *self.take(2))

    def ended(self) -> bool:
        return next(self._values, None) is None


def densenet_of_the_paper(layers: Layers, x: torch.Tensor) -> torch.Tensor:
    """DenseNet-BC 10-k."""
    x = layers.conv(x, padding=1)
    for block in range(3):
        narrow = layers.conv(layers.norm_relu(x))
        x = torch.cat([x, layers.conv(layers.norm_relu(narrow), padding=1)], dim=1)
        if block < 2:
            x = avg_pool2d(layers.conv(layers.norm_relu(x)), 2)
    return layers.linear(layers.norm_relu(x).mean(dim=(2, 3)))


def wideresnet_of_the_paper(layers: Layers, x: torch.Tensor) -> torch.Tensor:
    """WRN-10-k: a shortcut is a convolution where a block changes channels or resolution."""
    x = layers.conv(x, padding=1)
    for stride in (1, 2, 2):
        activated = layers.norm_relu(x)
        residual = layers.norm_relu(layers.conv(activated, stride=stride, padding=1))
        residual = layers.conv(residual, padding=1)
        keeps = residual.shape == x.shape
        x = residual + (x if keeps else layers.conv(activated, stride=stride))
    return layers.linear(layers.norm_relu(x).mean(dim=(2, 3)))


def vgg_of_the_paper(layers: Layers, x: torch.Tensor) -> torch.Tensor:
    """VGG-16: configuration D, and two hidden layers."""
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            x = layers.norm_relu(layers.conv(x, padding=1))
        x = max_pool2d(x, 2)
    x = x.flatten(1)
    for _ in range(2):
        x = layers.norm_relu(layers.linear(x))
    return layers.linear(x)


@pytest.mark.parametrize(
    ("name", "options", "paper"),
    [
        ("densenet", {}, densenet_of_the_paper),
        ("wideresnet", {"width": 1}, wideresnet_of_the_paper),
        ("wideresnet", {"width": 2}, wideresnet_of_the_paper),
        ("vgg", {}, vgg_of_the_paper),
    ],
)
def test_a_network_computes_what_its_paper_describes(name, options, paper):
    """A wrong stride, a missing ReLU, a missing pooling or shortcut would show."""
    network = build_small(name, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.1)
        if isinstance(module, nn.Linear):
            module.weight.data.normal_()
    images = torch.randn(2, 3, 32, 32)
    logits = network.eval()(images)
    layers = Layers(network)
    torch.testing.assert_close(logits, paper(layers, images), rtol=1e-4, atol=1e-4)
    assert layers.ended()
    # Every layer matters only if the images come through to the logits.
    assert float((logits[0] - logits[1]).detach().abs().max()) > 0.01


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_parameter_gets_a_gradient(name):
    network = build_small(name)
    network(torch.randn(4, 3, 32, 32)).logsumexp(dim=1).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.shape == parameter.shape
        assert bool(parameter.grad.isfinite().all()), parameter_name
        assert bool((parameter.grad != 0).any()), parameter_name


def test_units_of_the_others_are_named_by_what_they_are():
    assert [name for name, _ in build_small("wideresnet").named_children()] == [
        "conv", "group1_block1", "group2_block1", "group3_block1", "head",
    ]  # fmt: skip
    assert [name for name, _ in build_small("vgg").named_children()] == [
        "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1",
        "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "head",
    ]  # fmt: skip


WIDE = {
    "densenet": {"depth": 22, "growth_rate": 24},
    "wideresnet": {"depth": 10, "width": 2},
    "vgg": {"width": 0.25},
}


@pytest.mark.parametrize("name", WIDE)
def test_initial_weights_are_he_normal_by_fan_out(name):
    torch.manual_seed(0)
    network = models.build(name, 10, **WIDE[name])
    modules = list(network.modules())
    for convolution in (module for module in modules if isinstance(module, nn.Conv2d)):
        assert convolution.bias is None
        fan_out = convolution.kernel_size[0] ** 2 * convolution.out_channels
        weight = convolution.weight.detach()
        # Six standard errors of a sample's standard deviation.
        tolerance = 6 / math.sqrt(2 * weight.numel())
        assert float(weight.std()) == pytest.approx(math.sqrt(2 / fan_out), rel=tolerance)
    for norm in modules:
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            assert bool((norm.weight == 1).all())
            assert bool((norm.bias == 0).all())
    for linear_layer in (module for module in modules if isinstance(module, nn.Linear)):
        assert bool((linear_layer.bias == 0).all())
        if name == "vgg":
            assert float(linear_layer.weight.detach().std()) == pytest.approx(0.01, rel=0.1)


def test_dropout_is_where_the_options_say():
    dropouts = {
        name: [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
        for name, network in {
            "vgg": models.build("vgg", 10, width=0.05),
            "plain": models.build("wideresnet", 10, depth=10, width=1),
            "dropped": models.build("wideresnet", 10, depth=10, width=1, dropout=0.3),
        }.items()
    }
    assert dropouts == {"vgg": [0.5, 0.5], "plain": [0.0] * 3, "dropped": [0.3] * 3}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (33, 47), (64, 64)])
def test_networks_take_other_images(name, channels, size):
    network = build_small(name, 7, channels)
    assert network(torch.randn(2, channels, *size)).shape == (2, 7)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_smallest_image_that_a_family_declares_is_trained_on(name):
    smallest = models.FAMILIES[name].smallest_image
    network = build_small(name)
    network(torch.randn(4, 3, smallest, smallest)).sum().backward()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnext", {}, "no network family"),
        ("densenet", {"depth": 23, "growth_rate": 12}, "22 or 28"),
        ("densenet", {"depth": 22}, "growth_rate is missing"),
        ("densenet", {"depth": 22, "growth_rate": 12, "widht": 1}, "widht is not known"),
    ],
)
def test_wrong_options_are_reported(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, 10, **options)


def test_each_family_has_its_file():
    from importlib import import_module

    for family in models.FAMILIES:
        assert models.FAMILIES[family] in vars(import_module(f"fobench.models.{family}")).values()
