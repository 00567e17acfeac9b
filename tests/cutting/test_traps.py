"""Networks whose root does what is easily lost between units: each is cut, and right to the bit."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from fobench.cutting.cut import cut_network
from tests.cutting.comparing import images_for, outcome, unlike
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual

SHAPE = (8, 8, 3)


class Network(nn.Module):
    """A stem, two blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 6)
        self.blocks = nn.ModuleList([Residual(6, dropout=0.2), Residual(6)])
        self.fc = nn.Linear(6, CLASSES)

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.mean((2, 3)))


class ChangesThroughViews(Network):
    def forward(self, images):
        images = self.blocks[0](self.stem(images)) * 1.0
        images[:, 0].mul_(0.5)
        view = images[:, 1]
        view.add_(1)
        images = self.blocks[1](images) * 1
        images[:, :2] = 3.0
        images[0:1].data.mul_(2)
        torch._foreach_mul_([images], 0.5)
        return self.scores(images)


class FillsZeros(Network):
    """Tensors made without images, that are filled with images and cross."""

    def forward(self, images):
        images = self.stem(images)
        first = torch.zeros(images.shape[0], 6, 8, 8, device=images.device)
        first[:, :3] = images[:, :3]
        images = self.blocks[0](first) + 1
        second = torch.zeros(len(images), 6, 8, 8, device=images.device)
        part = second[:, 2:]
        part.copy_(images[:, 2:])
        return self.scores(self.blocks[1](second))


class MaskInAll(Network):
    """A mask drawn once, without images, is used by all blocks."""

    def forward(self, images):
        images = self.stem(images)
        keep = torch.ones(images.shape[0], 1, 1, 1, device=images.device)
        if self.training:
            keep = torch.empty_like(keep).bernoulli_(0.7) / 0.7
        for block in self.blocks:
            images = images + block(images) * keep
        return self.scores(images)


class DropsOwnWeights(Network):
    """Dropout of a parameter, drawn before that of the blocks, used behind them."""

    def __init__(self):
        super().__init__()
        self.mixing = nn.Parameter(torch.randn(6, 6))

    def forward(self, images):
        mixing = functional.dropout(self.mixing, 0.5, self.training)
        images = self.blocks[0](self.stem(images))
        return self.scores(self.blocks[1](torch.einsum("bchw,dc->bdhw", images, mixing)))


class ScalesTwice(Network):
    """What is computed from a parameter alone is used in two places: one unit."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(6, 1, 1))

    def forward(self, images):
        scale = self.scale.exp()
        images = self.blocks[0](self.stem(images)) * scale
        return self.scores(self.blocks[1](images) * scale)


class ReadsBeforeItCounts(Network):
    """What is read from a buffer before it changes is used behind the change."""

    def __init__(self):
        super().__init__()
        self.register_buffer("batches", torch.ones(1))

    def forward(self, images):
        before = self.batches * 2
        self.batches += 1
        images = self.blocks[0](self.stem(images)) + before
        return self.scores(self.blocks[1](images))


class MixesInTraining(Network):
    """In evaluation mode a module returns its first argument itself."""

    class Mix(nn.Module):
        def forward(self, one, other):
            return 0.9 * one + 0.1 * other if self.training else one

    def __init__(self):
        super().__init__()
        self.mix = self.Mix()

    def forward(self, images):
        images = self.stem(images)
        for block in self.blocks:
            images = self.mix(images, block(images))
        return self.scores(images)


class EqualNames(nn.Module):
    """Paths that are equal with _ for dots, and names that a unit or a sequence has, too."""

    def __init__(self):
        super().__init__()
        self.a_b, self.a = nn.Conv2d(3, 3, 1), nn.Module()
        self.a.b = nn.Conv2d(3, 3, 1)
        self.original, self.notes, self.pop = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.names, self.training_program = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, images):
        images = self.a.b(self.a_b(images).sin() + images).cos()
        images = self.pop(self.notes(self.original(images).sin()))
        return self.fc(self.training_program(self.names(images).sin()).mean((2, 3)))


class CallsForward(Network):
    def forward(self, images):
        images = self.stem.forward(images)
        for block in self.blocks:
            images = block.forward(images=images)
        return self.scores(images)


class Keywords(Network):
    """Modules with arguments by name, that return a dict with numbers in it."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)

        def forward(self, *, images, scale=1.0):
            return {"images": self.conv(images) * scale, "shape": images.shape, "factor": 3}

    def __init__(self):
        super().__init__()
        self.one, self.two = self.Scaled(), self.Scaled()

    def forward(self, images):
        images = self.stem(images)
        result = self.one(images=images, scale=2.0)
        result = self.two(images=result["images"].view(result["shape"]) * result["factor"])
        return self.scores(result["images"])


class ChangesItsInput(Network):
    """Blocks change their input in place, and it is used behind them."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)

        def forward(self, images):
            return self.conv(images.relu_())

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([self.Block(), self.Block(), self.Block()])

    def forward(self, images):
        images = self.stem[0](images)
        for block in self.blocks:
            images = images + block(images)
        return self.scores(images)


class TwoWithOneMemory(Network):
    """Blocks return a tensor and another that lies in its memory."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)

        def forward(self, pair):
            images = self.conv(pair[0]) + pair[1]
            return images, images.detach()

    def __init__(self):
        super().__init__()
        self.pairs = nn.Sequential(self.Block(), self.Block())

    def forward(self, images):
        images = self.stem(images)
        one, other = self.pairs((images, images))
        return self.scores(one.sin_() + other)


class PlainAttribute(Network):
    def __init__(self):
        super().__init__()
        self.mean = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)

    def forward(self, images):
        images = self.stem(images - self.mean)
        return self.scores(self.blocks[1](self.blocks[0](images).detach() + images))


class CountsPixels(Network):
    """Numbers that are multiples of the number of images."""

    def forward(self, images):
        number, width, *_ = (images := self.stem(images)).shape
        images = images.reshape(number * width, -1).repeat(2, 1)[: images.numel() // 64]
        images = self.blocks[0](images.reshape(len(images) // 6, width, 8, 8))
        ones = torch.ones(number, 1, 1, 1).expand(-1, 6, 8, 8)
        return self.scores(self.blocks[1](images * ones))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.one = nn.Conv2d(3, 6, 2, 2), nn.LSTM(6, 6, batch_first=True)
        self.two, self.fc = nn.GRU(6, 6), nn.Linear(6, CLASSES)

    def forward(self, images):
        words, _ = self.one(self.patch(images).flatten(2).transpose(1, 2))
        return self.fc(self.two(words.transpose(0, 1))[0][-1])


# With the number of units: fewer than four where what crosses would not be a batch of its own.
TRAPS = {
    ChangesThroughViews: 4,
    FillsZeros: 4,
    MaskInAll: 3,
    DropsOwnWeights: 3,
    ScalesTwice: 3,
    ReadsBeforeItCounts: 3,
    MixesInTraining: 4,
    EqualNames: 8,
    CallsForward: 4,
    Keywords: 4,
    ChangesItsInput: 5,
    TwoWithOneMemory: 3,
    PlainAttribute: 4,
    CountsPixels: 4,
    Recurrent: 4,
}


@pytest.mark.parametrize("make", TRAPS, ids=lambda make: make.__name__)
def test_trap(make):
    torch.manual_seed(0)
    network = make()
    cut = cut_network(network, SHAPE, check=False)
    for training in (True, False):
        whole, units = (copy.deepcopy(each).train(training) for each in (network, cut))
        for count in (3, 4):
            images = images_for(SHAPE, count)
            results = outcome(whole, whole, images), outcome(units, units.original, images)
            assert not unlike(*results), (training, count)
    assert len(cut) == TRAPS[make], [name for name, _ in cut.named_children()]


class ScalesInTraining(Network):
    """In training only, it does the same as it does behind that in both modes."""

    class Head(nn.Linear):
        def forward(self, images):
            return super().forward(images.mean((2, 3)))

    def __init__(self):
        super().__init__()
        self.head = self.Head(6, CLASSES)

    def forward(self, images):
        images = self.blocks[1](self.blocks[0](self.stem(images)))
        if self.training:
            images = images * torch.full_like(images, 1.0)
        images = images * torch.full_like(images, 2.0)
        return self.head(images)


def test_what_is_done_in_training_only_stands_for_nothing_in_evaluation():
    """Were the first product taken for the second, frozen blocks and the head would both double."""
    torch.manual_seed(0)
    network = ScalesInTraining()
    cut, images = cut_network(network, SHAPE, check=False), images_for(SHAPE)
    expected = network.eval()(images)
    assert torch.equal(cut[-1].train()(cut[:-1].eval()(images)), expected)
    assert torch.equal(cut.eval()(images), expected)


def test_recording_draws_no_random_numbers_and_changes_no_module():
    class DrawsByPython(Residual):
        def forward(self, images):
            return super().forward(images) if random.random() < 2 else images

    network = nn.Sequential(
        ConvNormReLU(3, 6), DrawsByPython(6), nn.Flatten(), nn.Linear(384, CLASSES)
    )
    weights, classes = copy.deepcopy(network.state_dict()), list(map(type, network.modules()))
    by_python, by_torch = random.getstate(), torch.get_rng_state()
    cut_network(network, SHAPE, check=False)
    assert random.getstate() == by_python
    assert torch.equal(by_torch, torch.get_rng_state())
    assert all(map(torch.equal, weights.values(), network.state_dict().values()))
    assert classes == list(map(type, network.modules()))
    cut_network(network, SHAPE)
    assert torch.equal(by_torch, torch.get_rng_state())
    assert all(map(torch.equal, weights.values(), network.state_dict().values()))
