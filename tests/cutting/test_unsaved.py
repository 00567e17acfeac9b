"""What a network changes in training and no checkpoint holds is refused, and nothing else."""

import random

import numpy
import pytest
import torch
from torch import nn

from fobench.cutting.cut import cut_network
from fobench.cutting.refusals import CannotCutError, random_states
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual

SHAPE = (8, 8, 3)


class Network(nn.Module):
    """A stem, two blocks and a head."""

    def __init__(self, block: type[nn.Module] = Residual) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 6)
        self.blocks = nn.ModuleList([block(6), Residual(6)])
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        for block in self.blocks:
            images = block(images)
        return self.fc(images.mean((2, 3)))


class CountsCalls(Network):
    """It changes what it does at a call that no comparison comes to."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * (1.0 if self.calls < 100 else 0.5)


class SavesItsCalls(CountsCalls):
    """In its state_dict; but its units call no forward pass that counts."""

    def get_extra_state(self):
        return self.calls

    def set_extra_state(self, state):
        self.calls = state


class CountsInADict(Network):
    def __init__(self) -> None:
        super().__init__()
        self.log = {"calls": [0]}

    def forward(self, images):
        self.log["calls"][0] += 1
        return super().forward(images)


class StartsOnce(Network):
    """As ActNorm does: from the first images."""

    def __init__(self) -> None:
        super().__init__()
        self.has_started = False
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, images):
        if not self.has_started:
            self.mean.copy_(images.mean((0, 2, 3)).view(3, 1, 1))
            self.has_started = True
        return super().forward(images - self.mean)


class Warm(Residual):
    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * min(1.0, self.calls / 100)


class Averages(Residual):
    """In a buffer that its state_dict leaves out."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("mean", torch.zeros(width, 1, 1), persistent=False)

    def forward(self, images):
        if self.training:
            self.mean.mul_(0.9).add_(images.detach().mean((0, 2, 3)).view(-1, 1, 1))
        return super().forward(images - self.mean)


class Previous(Residual):
    """Uses the images that it was called with before."""

    before = None

    def forward(self, images):
        shift = 0 if self.before is None else self.before
        self.before = images.detach().mean()
        return super().forward(images + shift)


class CountsUnused(Residual):
    """In a plain tensor, that nothing depends on yet."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.calls = torch.zeros(())

    def forward(self, images):
        self.calls += 1
        return super().forward(images)


class DropsByItsOwn(Residual):
    """With a generator of its own, that happens to draw alike in the comparison."""

    def __init__(self, width: int, generator=random.Random) -> None:
        super().__init__(width)
        self.generators = [generator(0)]

    def forward(self, images):
        if self.training and self.drawn() < 0:
            return images
        return super().forward(images)

    def drawn(self) -> float:
        return self.generators[0].random()


class DropsByNumpys(DropsByItsOwn):
    def __init__(self, width: int) -> None:
        super().__init__(width, numpy.random.default_rng)


class DropsByTorchs(DropsByItsOwn):
    def __init__(self, width: int) -> None:
        super().__init__(width, torch.Generator().manual_seed)

    def drawn(self) -> float:
        return torch.rand((), device="cpu", generator=self.generators[0]).item()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Network(DropsByItsOwn), "blocks.0.generators"),
        (lambda: Network(DropsByNumpys), "blocks.0.generators"),
        (lambda: Network(DropsByTorchs), "blocks.0.generators"),
        (CountsCalls, "calls"),
        (SavesItsCalls, "calls"),
        (CountsInADict, "log"),
        (StartsOnce, "has_started"),
        (lambda: Network(Warm), "blocks.0.calls"),
        (lambda: Network(Averages), "blocks.0.mean"),
        (lambda: Network(Previous), "blocks.0.before"),
        (lambda: Network(CountsUnused), "blocks.0.calls"),
    ],
)
def test_state_that_no_state_dict_holds_is_refused_by_name(make, name):
    with pytest.raises(CannotCutError) as error:
        cut_network(make(), SHAPE)
    assert f"its forward pass changes {name}, which its units or a resumed run" in str(error.value)


class KeepsMasks(Residual):
    """A mask for the size of the images, made once; the last features, for others to look at."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.masks: dict[tuple[int, ...], torch.Tensor] = {}
        self.size, self.features = None, None

    def forward(self, images):
        self.size = tuple(images.shape[1:])
        if self.size not in self.masks:
            self.masks[self.size] = torch.ones(self.size, device=images.device)
        self.features = super().forward(images * self.masks[self.size])
        return self.features


class SavesItsCount(Residual):
    """In the state_dict, by torch's way for what is no tensor."""

    calls = 0

    def forward(self, images):
        self.calls += self.training
        return super().forward(images) * min(1.0, self.calls / 100)

    def get_extra_state(self):
        return self.calls

    def set_extra_state(self, state):
        self.calls = state


class SavesADict(Residual):
    """The very dict that it goes on counting in, and takes that which it is given."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.counts = {"calls": 0}

    def forward(self, images):
        self.counts["calls"] += self.training
        return super().forward(images) * min(1.0, self.counts["calls"] / 100)

    def get_extra_state(self):
        return self.counts

    def set_extra_state(self, state):
        self.counts = state


class SavesATensor(SavesADict):
    """As before, counting in place."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.counts = torch.zeros(())

    def forward(self, images):
        self.counts += self.training
        return Residual.forward(self, images) * (self.counts / 100).clamp(max=1.0)


class SavesAnArray(SavesADict):
    def get_extra_state(self):
        return {"calls": numpy.array(self.counts["calls"])}

    def set_extra_state(self, state):
        self.counts = {"calls": int(state["calls"])}


def test_a_state_that_no_checkpoint_can_hold_is_refused():
    """It could be written, but not be read by torch.load(weights_only=True)."""
    with pytest.raises(CannotCutError, match=r"as blocks\.0\._extra_state: let get_extra_state"):
        cut_network(Network(SavesAnArray), SHAPE)


class DropsByPython(Residual):
    """With the random numbers of Python and numpy."""

    def forward(self, images):
        if self.training and random.random() + numpy.random.rand() < 1:
            return images
        return super().forward(images)


def spectral(width: int) -> nn.Module:
    block = Residual(width)
    nn.utils.spectral_norm(block.second)  # the old one, whose weight is no parameter
    return block


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "block", [KeepsMasks, SavesItsCount, SavesADict, SavesATensor, DropsByPython, spectral]
)
def test_what_is_saved_or_computed_anew_is_taken_and_random_states_stay(block):
    torch.manual_seed(0)
    network = Network(block)
    before = random_states()
    for _ in range(3):
        assert len(cut_network(network, SHAPE)) == 4
    assert random_states() == before
