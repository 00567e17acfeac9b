"""Units compute what the network computes: outputs, gradients and buffers, bit for bit."""

import copy

import pytest
import torch
import torchvision

from fobench.cutting.cut import cut_network
from tests.cutting.comparing import images_for, outcome, unlike
from tests.cutting.cuts_of import pair_of
from tests.cutting.networks import EXAMPLES, WithNorm

MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
ALL = pytest.mark.parametrize("name", EXAMPLES)


@MODES
@ALL
def test_units_compute_what_the_network_computes_for_any_number_of_images(name, training):
    whole, cut = pair_of(name)
    whole.train(training)
    cut.train(training)
    for count in (4, 3):
        images = images_for(EXAMPLES[name].image_shape, count)
        expected = outcome(whole, whole, images)
        assert not unlike(expected, outcome(cut, cut.original, images)), f"{count} images"
        assert any(each is not None and each.any() for each in expected.gradients.values())


@ALL
def test_they_do_so_in_bfloat16(name):
    whole, cut = pair_of(name)
    images = images_for(EXAMPLES[name].image_shape)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        results = outcome(whole, whole, images), outcome(cut, cut.original, images)
    assert not unlike(*results)
    assert torch.equal(results[0].scores, results[0].scores.bfloat16().to(results[0].scores.dtype))


@MODES
def test_they_do_so_in_channels_last_and_in_double_precision(training):
    whole, cut = (each.train(training) for each in pair_of("with norm"))
    images = images_for(EXAMPLES["with norm"].image_shape)
    for convert in ({"memory_format": torch.channels_last}, {"dtype": torch.float64}):
        images = images.to(**convert)
        results = (
            outcome(whole.to(**convert), whole, images),
            outcome(cut.to(**convert), cut.original, images),
        )
        assert not unlike(*results)
        assert results[0].scores.dtype == images.dtype


# The others share modules between units, or ask their root for its mode.
OF_MODULES = set(EXAMPLES) - {"reads its mode", "counts", "shares dropout"}


@pytest.mark.parametrize("name", sorted(OF_MODULES))
def test_with_the_first_units_in_evaluation_mode_they_do_as_the_modules_in_these_modes(name):
    """As with frozen units: no call is made in two units, or in none, where modes are mixed."""
    cut = pair_of(name)[1]
    images = images_for(EXAMPLES[name].image_shape)
    network = cut.original
    for frozen in range(1, len(cut)):
        network.train()
        cut.train()
        for unit in cut[:frozen]:
            unit.eval()
        before = {key: each.clone() for key, each in network.state_dict().items()}
        expected = outcome(network, network, images)
        network.load_state_dict(before)
        assert not unlike(expected, outcome(cut, network, images)), f"{frozen} in evaluation mode"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "units"),
    [("googlenet", 13), ("resnet18", 10), ("densenet121", 63), ("mobilenet_v2", 20)],
)
def test_whole_networks_of_torchvision_are_equal_and_have_as_many_units(name, units):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, **options)
    cut = cut_network(network, (64, 64, 3), check=False)
    assert len(cut) == units
    for training in (True, False):
        whole, parts = (copy.deepcopy(each).train(training) for each in (network, cut))
        images = images_for((64, 64, 3))
        results = outcome(whole, whole, images), outcome(parts, parts.original, images)
        assert not unlike(*results)


def test_the_test_notices_a_difference():
    """Of one bit in a score, of a gradient, of a buffer."""
    torch.manual_seed(0)
    network, images = WithNorm(), images_for((8, 8, 3))
    start = {key: each.clone() for key, each in network.state_dict().items()}
    one = outcome(network, network, images)
    assert unlike(one, outcome(network, network, images)), "running statistics moved on"
    network.load_state_dict(start)
    assert not unlike(one, outcome(network, network, images))
    network.load_state_dict(start)
    with torch.no_grad():
        network.fc.bias[0] += 1e-6
    assert unlike(one, outcome(network, network, images)) == ["scores"]
    network.load_state_dict(start)
    network.stem[0].weight.requires_grad_(False)
    assert unlike(one, outcome(network, network, images)) == ["gradients of stem.0.weight"]
