"""BatchNorm and ReLU as one kernel: the same function, frozen or not."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from fobench.activations.plan import STORE_NOTHING
from fobench.errors import UserError
from fobench.models import build, fusion
from fobench.models.fusion import BatchNormReLU, batch_norm_relu, fuse_batch_norm_relu
from tests.activations.small_runs import learned, method, small_run, train_all
from tests.networks import EACH, EXAMPLES


@pytest.fixture
def uncompiled(monkeypatch):
    """The function itself: compiling it takes half a minute."""
    monkeypatch.setattr(fusion, "compiled", lambda: batch_norm_relu)


@pytest.mark.parametrize("family", EACH)
def test_a_fused_network_computes_what_the_network_computes(family, uncompiled):
    torch.manual_seed(0)
    network = build(family, 10, 3, **EXAMPLES[family])
    fused = copy.deepcopy(network)
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    assert fuse_batch_norm_relu(fused) == len(norms)
    assert fused.state_dict().keys() == network.state_dict().keys()
    images = torch.randn(4, 3, 32, 32)
    for train in (True, False):
        outputs = []
        for each in (network, fused):
            torch.manual_seed(1)  # of dropout
            outputs.append(each.train(train)(images))
            outputs[-1].sum().backward()
        assert torch.equal(*outputs)
    for one, other in zip(network.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for name, value in network.state_dict().items():
        assert torch.equal(fused.state_dict()[name], value), name


def test_a_network_without_any_is_refused():
    with pytest.raises(UserError, match="leave the option out"):
        fuse_batch_norm_relu(nn.Sequential(nn.BatchNorm2d(3), nn.Tanh()))


def test_only_a_batchnorm_in_front_of_a_relu_is_fused():
    network = nn.Sequential(
        nn.BatchNorm2d(3), nn.Tanh(), nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.ReLU(),
        nn.BatchNorm2d(3, track_running_stats=False), nn.ReLU(), nn.BatchNorm2d(3, momentum=None),
        nn.ReLU(), nn.BatchNorm2d(3), nn.ReLU(),
    )  # fmt: skip
    assert fuse_batch_norm_relu(network) == 1
    assert [type(each) for each in network[-2:]] == [BatchNormReLU, nn.Identity]


@pytest.mark.parametrize("family", EACH)
def test_fused_runs_freeze_and_store_as_others_do(tiny, family, uncompiled):
    run = method(small_run(tiny, family), views=2)
    fused = replace(run, train=run.train.replace(fuse_batchnorm=True))
    assert fused.id != run.id
    assert learned(train_all(fused, STORE_NOTHING)[1]) == learned(train_all(run, STORE_NOTHING)[1])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("family", EACH)
def test_a_compiled_run_ends_near_the_other(tiny, family):
    """Through all kinds of call, none of which makes torch give up compiling."""
    run = method(small_run(tiny, family), views=2)
    fused = replace(run, train=run.train.replace(fuse_batchnorm=True))
    _, rows = train_all(fused, STORE_NOTHING)
    _, expected = train_all(run, STORE_NOTHING)
    assert rows[-1].frozen_units == expected[-1].frozen_units > 0
    assert rows[-1].train_loss == pytest.approx(expected[-1].train_loss, rel=0.1)
