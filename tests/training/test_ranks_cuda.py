"""Ranks on a GPU: one of a group of one, whose collectives are called all the same."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from fobench.data import split
from fobench.experiment.run import Run
from fobench.machine import graphs, process_group
from fobench.machine.launch import Launch
from fobench.machine.ranks import ALONE, Ranks, be_current
from fobench.training.batchnorm import synchronize_batch_norm
from fobench.training.loop import train
from fobench.training.state import Training
from tests.activations.small_runs import (
    DATASET,
    Unseen,
    learned,
    method,
    plan_of_all,
    same_weights,
    small_run,
)
from tests.freezing.test_parallel import free_port

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    """A group of NCCL and gloo."""
    yield process_group.join(Launch(0, 1, 0, ("127.0.0.1", free_port())), "cuda")
    be_current(ALONE)
    torch.distributed.destroy_process_group()


def trained(run: Run, ranks: Ranks) -> tuple[Training, list[tuple]]:
    data = split.load(DATASET, run.data_used, run.data.augment, CUDA)
    training = Training(run, data, CUDA, plan_of_all(run), ranks)
    return training, learned(list(train(training, Unseen())))


@pytest.mark.parametrize("step", ["eager", "graph"])
def test_collectives_change_no_bit_also_in_a_graph(tiny, ranks, monkeypatch, step):
    """With units that freeze, and a store."""
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)
    run = method(small_run(tiny, "densenet"), views=1, precompute=True, t0=0.3)
    run = replace(run, train=run.train.replace(step=step, deterministic=True))
    one, rows = trained(run, ranks)
    alone, expected = trained(run, ALONE)
    assert rows == expected
    assert same_weights(one, alone)
    if step == "graph":
        assert one.graphs.captures == alone.graphs.captures


@pytest.mark.usefixtures("ranks")
def test_torchs_batchnorm_of_all_takes_the_place_of_each():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(CUDA)
    keys, images = list(network.state_dict()), torch.randn(4, 3, 8, 8, device=CUDA)
    expected = network(images)
    synchronize_batch_norm(network, CUDA)
    assert type(network[1]) is nn.SyncBatchNorm
    assert list(network.state_dict()) == keys
    torch.testing.assert_close(network(images), expected)
