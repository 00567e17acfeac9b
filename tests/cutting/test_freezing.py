"""FreezeOut over the units of any network: what is frozen stays, bit for bit; the rest trains."""

import pytest
import torch
from torch.optim import SGD, AdamW

from fobench import FreezeOut
from fobench.cutting.cut import cut_network
from tests.cutting.comparing import images_for
from tests.cutting.cuts_of import pair_of
from tests.cutting.networks import EXAMPLES, Tokens

STEPS = 12


def groups_of(cut):
    return [{"params": list(unit.parameters())} for unit in cut]


def state_of(unit):
    return [each.detach().clone() for each in (*unit.parameters(), *unit.buffers())]


def update(cut, optimizer, images):
    cut.train()  # as training loops do
    optimizer.zero_grad()
    cut(images).square().mean().backward()
    optimizer.step()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # of a hooked stage, when first
@pytest.mark.parametrize("name", EXAMPLES)
def test_frozen_units_stay_bit_identical_and_the_others_train(name):
    """Parameters, buffers and outputs, whatever the mode is set to."""
    cut = pair_of(name)[1].train()
    images = images_for(EXAMPLES[name].image_shape)
    optimizer = SGD(groups_of(cut), lr=0.05, momentum=0.9, weight_decay=1e-2)
    freezeout = FreezeOut(cut, optimizer, STEPS, t0=0.3, scaling="linear")
    at_freeze: dict[int, tuple[list[torch.Tensor], torch.Tensor]] = {}
    at_start = [state_of(unit) for unit in cut]
    for step in range(STEPS):
        freezeout.step()
        for index in range(freezeout.frozen):
            if index not in at_freeze:
                at_freeze[index] = state_of(cut[index]), scores_of(cut, index, images)
        update(cut, optimizer, images_for(EXAMPLES[name].image_shape, 3 + step))
        cut.original.train(step % 2 == 0)
        for index, (state, output) in at_freeze.items():
            assert all(map(torch.equal, state, state_of(cut[index]))), f"unit {index} moved"
            assert torch.equal(output, scores_of(cut, index, images)), f"unit {index} acts anew"
            assert all(each.grad is None for each in cut[index].parameters())
        cut.train()
    assert len(at_freeze) == len(cut) - 1
    for unit, state in zip(cut, at_start, strict=True):
        moved = [not torch.equal(*pair) for pair in zip(state, state_of(unit), strict=True)]
        assert any(moved)


def scores_of(cut, index, images):
    """The first of what the frozen units up to a number return."""
    result = cut[: index + 1](images)
    return (result[0] if isinstance(result, tuple) else result).detach().clone()


def test_class_tokens_and_positions_freeze_with_the_unit_that_uses_them_first():
    torch.manual_seed(0)
    network = Tokens()
    cut = cut_network(network, (16, 16, 3), check=False)
    optimizer = AdamW(groups_of(cut), lr=1e-2)
    freezeout = FreezeOut(cut, optimizer, STEPS, t0=0.3, scaling="linear")
    while not freezeout.frozen:
        freezeout.step()
        update(cut, optimizer, images_for((16, 16, 3)))
    own = [*network.tokens, network.positions]
    before = [each.clone() for each in own]
    assert all(not each.requires_grad and each.grad is None for each in own)
    assert network.scale.requires_grad
    scale = network.scale.clone()
    update(cut, optimizer, images_for((16, 16, 3)))
    assert all(map(torch.equal, own, before))
    assert not torch.equal(scale, network.scale)


def test_after_release_the_network_trains_as_before():
    cut = pair_of("vit")[1]
    freezeout = FreezeOut(cut, SGD(groups_of(cut), lr=0.05), STEPS, t0=0.3)
    for _ in range(STEPS):
        freezeout.step()
    freezeout.release()
    cut.train()
    assert all(each.requires_grad for each in cut.original.parameters())
    assert all(module.training for module in cut.modules())
