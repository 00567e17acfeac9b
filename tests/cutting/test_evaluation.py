"""Networks are refused whose units, once frozen, would go on changing or not repeat themselves."""

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

from fobench.cutting.cut import cut_network
from fobench.cutting.refusals import CannotCutError
from tests.cutting.networks import Residual
from tests.cutting.test_unsaved import SHAPE, Network


class AveragesAlways(Residual):
    """In a buffer, also in evaluation mode."""

    always = True

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("mean", torch.zeros(width, 1, 1))

    def forward(self, images):
        if self.training or self.always:
            self.mean.mul_(0.9).add_(images.detach().mean((0, 2, 3)).view(-1, 1, 1))
        return super().forward(images - self.mean)


class AveragesInTraining(AveragesAlways):
    always = False


class DropsAlways(Residual):
    def forward(self, images):
        return super().forward(dropout(images, 0.2))


class CentersTheBatch(Residual):
    def forward(self, images):
        return super().forward(images - images.mean())


def untracked(width: int) -> nn.Module:
    return nn.Sequential(Residual(width), nn.BatchNorm2d(width, track_running_stats=False))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (AveragesAlways, r"changes blocks\.0\.mean in evaluation mode, too"),
        (DropsAlways, "draws random numbers in evaluation mode, too"),
        (CentersTheBatch, "depends on the other images of the batch"),
        (untracked, "depends on the other images of the batch"),
    ],
)
def test_what_is_no_function_of_the_image_in_evaluation_mode_is_refused(block, reason):
    """Its stored activations would not be what a frozen unit computes."""
    with pytest.raises(CannotCutError, match=reason):
        cut_network(Network(block), SHAPE)


def test_a_buffer_that_changes_in_training_alone_is_taken():
    assert len(cut_network(Network(AveragesInTraining), SHAPE)) == 4


class CountsAtTheTop(Network):
    """Before its first unit, for its last; both freeze apart."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, images):
        if self.training:
            self.steps += 1
        return super().forward(images) * (self.steps / 100).clamp(max=1.0)


class Counts(Residual):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, images):
        if self.training:
            self.steps += 1
        return super().forward(images) * (self.steps / 100).clamp(max=1.0)


class ReadsABlocksCount(Network):
    def __init__(self) -> None:
        super().__init__(Counts)

    def forward(self, images):
        return super().forward(images) * (1 + self.blocks[0].steps)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (CountsAtTheTop, "changes steps, which units stem and fc use"),
        (ReadsABlocksCount, r"changes blocks\.0\.steps, which units blocks_0 and fc use"),
    ],
)
def test_a_buffer_that_one_unit_changes_and_another_reads_is_refused(make, named):
    """The counter would stop for the head when the stem freezes."""
    with pytest.raises(CannotCutError, match=named):
        cut_network(make(), SHAPE)


def test_a_block_may_count_for_itself():
    assert len(cut_network(Network(Counts), SHAPE)) == 4
