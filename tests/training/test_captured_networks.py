"""A step is not captured if a network changes in Python what a replay would not change."""

import pytest
import torch
from torch import nn

from fobench.activations.frozen_prefix import FrozenPrefix
from fobench.cutting.cut import cut_network
from fobench.experiment.options import TrainOptions
from fobench.machine import graphs
from fobench.machine.graphs import CaptureError
from fobench.training.step import Batch, EagerStep, GraphStep, StepsUntilFreeze
from tests.activations.small_runs import CPU
from tests.cutting.networks import Residual
from tests.cutting.test_evaluation import Counts
from tests.cutting.test_unsaved import SHAPE, Network, SavesADict, SavesItsCount
from tests.training.cpu_graphs import CpuGraphs


class Assigns(Residual):
    """A new tensor as its buffer: a replay would read the one that was there at capture."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * images.detach().mean()
        return super().forward(images - self.mean)


def take_steps(network: nn.Module, count: int) -> CpuGraphs:
    cut = cut_network(network, SHAPE)
    optimizer = torch.optim.SGD(cut.parameters(), lr=0.1)
    made, eager = CpuGraphs(CPU), EagerStep(cut, optimizer, TrainOptions(epochs=1, batch_size=4))
    step = GraphStep(eager, made, StepsUntilFreeze([], 9, 9, 4))
    images = torch.randn(4, 3, 8, 8)
    for number in range(count):
        step(number, Batch(images, torch.zeros(4, dtype=torch.long), FrozenPrefix(), 4))
    return made


@pytest.fixture(autouse=True)
def _few_steps_suffice(monkeypatch):
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)


@pytest.mark.parametrize(
    ("block", "name"),
    [(SavesItsCount, "calls"), (SavesADict, "counts"), (Assigns, "mean")],
)
def test_a_block_that_changes_what_a_replay_would_not_is_refused_by_name(block, name):
    """Each is in the state_dict, so that it trains and resumes with eager steps."""
    with pytest.raises(CaptureError, match=rf"changes blocks_0\.{name} in Python.*= \"eager\""):
        take_steps(Network(block), 3)


def test_a_block_that_changes_its_buffer_in_place_is_captured_and_counts_on():
    network = Network(Counts)
    made = take_steps(network, 5)
    assert made._captures == 1
    assert network.blocks[0].steps == 5
