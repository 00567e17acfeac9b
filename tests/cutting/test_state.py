"""The state of a cut network is that of the network: keys, values, conversions, copies."""

import copy
import io
import pickle

import pytest
import torch
from torch.optim import SGD

from tests.cutting.comparing import images_for, outcome, same, unlike
from tests.cutting.cuts_of import pair_of
from tests.cutting.networks import EXAMPLES

ALL = pytest.mark.parametrize("name", EXAMPLES)


def train(cut, name):
    optimizer = SGD(cut.parameters(), lr=0.1)
    for count in (3, 4):
        optimizer.zero_grad()
        cut(images_for(EXAMPLES[name].image_shape, count)).square().mean().backward()
        optimizer.step()


def equal_states(one, other):
    return list(one) == list(other) and all(same(one[key], other[key]) for key in one)


@ALL
def test_the_state_is_that_of_the_network_also_after_training(name):
    whole, cut = pair_of(name)
    assert equal_states(cut.state_dict(), whole.state_dict())
    train(cut.train(), name)
    state = cut.state_dict()
    assert list(state) == list(whole.state_dict())
    assert equal_states(state, cut.original.state_dict())
    assert not equal_states(state, whole.state_dict())
    whole.load_state_dict(state)
    images = images_for(EXAMPLES[name].image_shape)
    whole.eval()
    cut.eval()
    assert not unlike(outcome(whole, whole, images), outcome(cut, cut.original, images))


@ALL
def test_converted_to_double_and_back_units_and_network_stay_one(name):
    """Buffers are replaced by `.to`, and the units hold some directly."""
    whole, cut = pair_of(name)
    cut.double()
    ours = {id(each) for unit in cut for each in (*unit.parameters(), *unit.buffers())}
    theirs = {id(each) for each in (*cut.original.parameters(), *cut.original.buffers())}
    assert ours <= theirs
    assert {each.dtype for each in cut.parameters()} == {torch.float64}
    images = images_for(EXAMPLES[name].image_shape).double()
    whole.double()
    assert not unlike(outcome(whole, whole, images), outcome(cut, cut.original, images))
    cut.float()
    train(cut.train(), name)
    assert {each.dtype for each in cut.parameters()} == {torch.float32}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", ["tokens", "counts", "vit"])
def test_a_state_that_is_loaded_is_that_of_the_units_too(name, assign):
    whole, cut = pair_of(name)
    train(whole.train(), name)
    state = {key: each.clone() for key, each in whole.state_dict().items()}
    cut.load_state_dict(state, assign=assign)
    images = images_for(EXAMPLES[name].image_shape)
    cut.train()
    assert not unlike(outcome(whole, whole, images), outcome(cut, cut.original, images))


def test_a_state_that_does_not_fit_is_refused():
    cut = pair_of("vit")[1]
    with pytest.raises(RuntimeError, match="Missing key"):
        cut.load_state_dict({})


@ALL
def test_a_copy_trains_apart_and_a_pickled_one_is_equal(name):
    cut = pair_of(name)[1].train()
    twin = copy.deepcopy(cut)
    before = {key: each.clone() for key, each in cut.state_dict().items()}
    train(twin, name)
    assert equal_states(before, cut.state_dict())
    assert not equal_states(before, twin.state_dict())
    assert equal_states(twin.state_dict(), twin.original.state_dict())
    if name in ("hooked", "plain"):
        return  # a lambda, and torch's functional.max_pool2d, do not pickle
    again = pickle.loads(pickle.dumps(twin))
    images = images_for(EXAMPLES[name].image_shape)
    assert not unlike(outcome(twin, twin.original, images), outcome(again, again.original, images))


def test_saved_by_torch_it_loads_into_the_network_itself():
    whole, cut = pair_of("tokens")
    train(cut.train(), "tokens")
    file = io.BytesIO()
    torch.save(cut.state_dict(), file)
    file.seek(0)
    whole.load_state_dict(torch.load(file, weights_only=True))
    assert equal_states(whole.state_dict(), cut.state_dict())
