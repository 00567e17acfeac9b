"""The networks against the literature's numbers, and their units as the design cuts them."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, relu

from fobench import models


@pytest.mark.parametrize(
    ("depth", "growth_rate", "classes", "units", "parameters"),
    [(76, 12, 100, 40, 510_040), (100, 12, 100, 52, 800_032), (22, 12, 10, 13, None)],
)
def test_densenet_has_the_known_units_and_parameters(
    depth, growth_rate, classes, units, parameters
):
    with torch.device("meta"):
        network = models.build("densenet", classes, depth=depth, growth_rate=growth_rate)
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


def reference_densenet(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """DenseNet-BC 10-k written out from the paper, with the network's weights in order."""
    values = iter(weights.values())

    def norm_relu(x: torch.Tensor) -> torch.Tensor:
        weight, bias, mean, variance, _ = (next(values) for _ in range(5))
        return relu(batch_norm(x, mean, variance, weight, bias, training=False))

    x = conv2d(x, next(values), padding=1)
    for block in range(3):
        narrow = conv2d(norm_relu(x), next(values))
        x = torch.cat([x, conv2d(norm_relu(narrow), next(values), padding=1)], dim=1)
        if block < 2:
            x = avg_pool2d(conv2d(norm_relu(x), next(values)), 2)
    x = norm_relu(x).mean(dim=(2, 3))
    return linear(x, next(values), next(values))


def test_densenet_computes_what_the_paper_describes():
    """A wrong stride, a missing ReLU or a missing pooling would show."""
    torch.manual_seed(0)
    network = models.build("densenet", 10, depth=10, growth_rate=4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
    images = torch.randn(2, 3, 32, 32)
    logits = network.eval()(images)
    assert logits.shape == (2, 10)
    torch.testing.assert_close(logits, reference_densenet(network.state_dict(), images))


def test_initial_weights_are_he_normal_by_fan_out():
    torch.manual_seed(0)
    network = models.build("densenet", 10, depth=22, growth_rate=24)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert all(convolution.bias is None for convolution in convolutions)
    for convolution in convolutions:
        fan_out = convolution.kernel_size[0] ** 2 * convolution.out_channels
        weight = convolution.weight
        # Six standard errors of a sample's standard deviation.
        tolerance = 6 / math.sqrt(2 * weight.numel())
        assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_out), rel=tolerance)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        assert bool((norm.weight == 1).all())
        assert bool((norm.bias == 0).all())
    assert bool((network.head[-1].bias == 0).all())


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 64)])
def test_densenet_takes_other_images(channels, size):
    network = models.build("densenet", 7, channels, depth=10, growth_rate=4)
    assert network(torch.randn(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnext", {}, "no network family"),
        ("densenet", {"depth": 23, "growth_rate": 12}, "22 or 28"),
        ("densenet", {"depth": 22}, "growth_rate is missing"),
        ("densenet", {"depth": 22, "growth_rate": 12, "widht": 1}, "widht is not known"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, 10, **options)


def test_each_family_has_its_file():
    from importlib import import_module

    for family in models.FAMILIES:
        assert callable(import_module(f"fobench.models.{family}").build)
