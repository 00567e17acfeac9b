"""Networks as users write them: those that work, and those that are refused, with what to do."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD

from fobench import FreezeOut
from fobench.cutting.cut import cut_network
from fobench.cutting.cut_network import memory_format_of
from fobench.cutting.refusals import CannotCutError
from tests.cutting.comparing import images_for, outcome, unlike
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual

SHAPE = (16, 16, 3)


class LeNet(nn.Module):
    """With view() behind convolutions, which fails on images that are channels last."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 6, 3), nn.Conv2d(6, 16, 3)
        self.fc1, self.fc2 = nn.Linear(16 * 2 * 2, 8), nn.Linear(8, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        images = functional.max_pool2d(functional.relu(self.conv2(images)), 2)
        return self.fc2(functional.relu(self.fc1(self.flat(images))))

    def flat(self, images: torch.Tensor) -> torch.Tensor:
        return images.view(images.size(0), -1)


class LeNetOfNumbers(LeNet):
    def flat(self, images):
        return images.view(-1, 16 * 2 * 2)


class LeNetInEvaluation(LeNet):
    def flat(self, images):
        return images.flatten(1) if self.training else images.view(-1, 16 * 2 * 2)


def refusal(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> str:
    with pytest.raises(CannotCutError) as error:
        cut_network(network, shape)
    return str(error.value)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("make", [LeNet, LeNetOfNumbers, LeNetInEvaluation])
def test_a_network_with_view_trains_on_contiguous_images(make, channels):
    torch.manual_seed(0)
    network, shape = make(channels), (16, 16, channels)
    cut = cut_network(network, shape)
    assert [name for name, _ in cut.named_children()] == ["conv1", "conv2", "fc1", "fc2"]
    assert memory_format_of(cut) is torch.contiguous_format
    assert copy.deepcopy(cut).memory_format is torch.contiguous_format
    for training in (True, False):
        whole, units = (copy.deepcopy(each) for each in (network, cut))
        whole.train(training)
        units.train(training).to(memory_format=units.memory_format)
        for count in (3, 4):
            contiguous = images_for(shape, count)
            as_trained = contiguous.clone(memory_format=torch.channels_last)
            expected = outcome(whole, whole, contiguous)
            assert not unlike(expected, outcome(units, units.original, as_trained))
        between = units[0](as_trained)
        assert between.is_contiguous()
        if make is not LeNetInEvaluation or not training:
            with pytest.raises(RuntimeError, match="view size is not compatible"):
                whole(as_trained)


def test_other_networks_train_on_images_that_are_channels_last():
    cut = cut_network(nn.Sequential(ConvNormReLU(3, 6), nn.Flatten(), nn.Linear(384, 5)), (8, 8, 3))
    assert memory_format_of(cut) is torch.channels_last
    assert memory_format_of(nn.Sequential()) is torch.channels_last


class Volumes(nn.Module):
    """Whose weights have five dimensions, and so no format that is channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, (1, 3, 3)), nn.Linear(4, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(images.unsqueeze(2)).mean((2, 3, 4)))


def test_weights_of_five_dimensions_train_on_contiguous_images():
    cut = cut_network(Volumes(), SHAPE)
    assert memory_format_of(cut) is torch.contiguous_format
    cut.to(memory_format=memory_format_of(cut))


class Network(nn.Module):
    """A stem, blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 6)
        self.blocks = nn.ModuleList([Residual(6, dropout=0.2), Residual(6)])
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.before(self.stem(images))
        for block in self.blocks:
            images = block(images)
        return self.fc(images.mean((2, 3)))

    def before(self, images: torch.Tensor) -> torch.Tensor:
        return images


class LessOfItsGradient(Network):
    """With a hook on a tensor, which no unit has."""

    def before(self, images):
        if images.requires_grad:
            images.register_hook(lambda gradient: gradient * 0.1)
        return images


def test_a_head_that_starts_at_zero_hides_no_difference():
    network = LessOfItsGradient()
    nn.init.zeros_(network.fc.weight)
    assert "do not compute what it computes: gradients in training mode" in refusal(network)
    assert not network.fc.weight.any()


class SmallBatch(Network):
    def before(self, images):
        return images if images.shape[0] > 1 else images * 2


def test_what_is_done_with_a_single_image_alone_is_refused():
    assert "compute what it computes: outputs for a single image" in refusal(SmallBatch())


class NoSingleImage(Network):
    def before(self, images):
        if images.shape[0] == 1:
            raise ValueError("a pair is needed")
        return images


def test_a_network_may_fail_on_a_single_image():
    assert len(cut_network(NoSingleImage(), SHAPE)) == 4


class KeepsNorms(Network):
    """As in fine-tuning; its train() returns nothing, which is easily forgotten."""

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def test_norms_that_a_network_keeps_in_evaluation_mode_stay_so_in_its_units():
    cut = cut_network(KeepsNorms(), SHAPE)
    assert cut.train() is cut
    modes = {type(each): each.training for each in cut.modules()}
    assert not modes[nn.BatchNorm2d]
    assert modes[nn.Dropout]
    assert cut[1].training
    cut.eval()
    assert not any(each.training for each in cut.modules())
    optimizer = SGD([{"params": list(unit.parameters())} for unit in cut], lr=0.1)
    freezeout = FreezeOut(cut, optimizer, 1000, t0=0.1)
    while not freezeout.frozen:
        freezeout.step()
    cut.train()
    assert not any(each.training for each in cut[0].modules())
    assert cut[1].training
    assert not any(each.training for each in cut[1].modules() if "Norm2d" in type(each).__name__)


class AsksForClasses(Network):
    def forward(self, images):
        images = self.stem(images)
        for layer in (*self.blocks, self.fc):
            if type(layer) is nn.Linear:
                images = images.mean((2, 3))
            images = layer(images)
        return images


def test_a_forward_pass_may_ask_for_the_classes_of_modules():
    assert len(cut_network(AsksForClasses(), SHAPE)) == 4
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_a_network_is_taken_out_of_its_wrapper(wrap):
    network = Network()
    cut = cut_network(wrap(network), SHAPE)
    assert cut.original is network
    assert [name for name, _ in cut.named_children()] == ["stem", "blocks_0", "blocks_1", "fc"]
    part = Network()
    part.stem = wrap(part.stem)
    assert "Network: stem is wrapped in " in refusal(part)


def test_modules_that_are_compiled_in_place_are_not():
    """Copies are not: with one the network is compared."""
    network = Network()
    network.blocks[0].compile()
    network.compile()
    cut = cut_network(network, SHAPE, check=False)
    assert not any(each._compiled_call_impl for each in (*cut.modules(), *network.modules()))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_is_refused():
    script = torch.jit.trace(Network().eval(), torch.zeros(1, *SHAPE).permute(0, 3, 1, 2))
    assert "TorchScript modules cannot be kept in evaluation mode" in refusal(script)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))


def test_lazy_modules_get_their_sizes_from_the_images():
    torch.manual_seed(0)
    cut = cut_network(lazy(), SHAPE)
    assert [tuple(each.shape) for each in cut.parameters()] == [
        *[(4, 3, 3, 3), (4,), (4,), (4,)],
        *[(5, 784), (5,)],
    ]
    assert cut.original.training
    assert not cut.original[1].num_batches_tracked
    unused = Network()
    unused.extra = nn.LazyLinear(5)
    assert "the forward pass does not use extra.weight, which is lazy" in refusal(unused)


class NeedsTime(Network):
    def forward(self, images, time):
        return super().forward(images)


class NeedsMask(Network):
    def forward(self, images, *, mask, scale=1.0):
        return super().forward(images)


class OfColour(Network):
    def __init__(self) -> None:
        super().__init__()
        self.stem[0] = nn.Conv2d(1, 6, 3, padding=1)


class Halves(Network):
    def before(self, images):
        return functional.max_pool2d(images, 32)


class Mistyped(Network):
    def before(self, images):
        return images + self.no_such_thing


class InfersOnly(Network):
    def before(self, images):
        with torch.inference_mode():
            images = images * 2
        return images.clone()


class Views(Network):
    """Behind a permutation, which no format of the images mends."""

    def before(self, images):
        return images.permute(0, 2, 1, 3).view(len(images), -1).view(images.shape)


def old_weight_norm() -> nn.Module:
    network = Network()
    with pytest.warns(FutureWarning, match="deprecated"):
        network.stem[0] = nn.utils.weight_norm(network.stem[0])
    return network


class KeepsFeatures(Network):
    """By a hook, which copies of the network have, too, and which writes to this one."""

    def __init__(self) -> None:
        super().__init__()
        self.features: dict[str, list[torch.Tensor]] = {"kept": []}
        self.stem.register_forward_hook(lambda *given: self.features["kept"].append(given[-1]))


class Checkpoints(Network):
    """Whose norms move twice in a step."""

    def before(self, images):
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.blocks[1], images, use_reentrant=False)


class KeyOfMeta(Network):
    def before(self, images):
        return images * {}["meta"]


class NoMetadata(Network):
    def before(self, images):
        raise ValueError("no metadata")


def with_lock() -> nn.Module:
    import threading

    network = Network()
    network.lock = threading.Lock()
    return network


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (NeedsTime, "forward pass needs time besides the images: give it a default, or wrap"),
        (NeedsMask, "forward pass needs mask besides the images: give it a default, or wrap"),
        (lambda: Network().half(), r"stem\.0\.weight is torch\.float16: make its weights float32"),
        (lambda: Network().double(), r"stem\.0\.weight is torch\.float64: make its weights fl"),
        (OfColour, "16x16 pixels and 3 channels.* It takes images of 1 channel: change"),
        (Halves, "fails on images of 16x16 .* It takes images of 32x32: set data.image_size = 32"),
        (lambda: LeNet(1), "3 channels.* It takes images of 1 channel: change"),
        (KeyOfMeta, "fails on images of .*: KeyError: 'meta'"),
        (NoMetadata, "fails on images of .*: ValueError: no metadata"),
        (KeepsFeatures, "features holds tensors that were computed .*: make the hook a method"),
        (Checkpoints, "buffers in training mode differ. Switch gradient checkpointing off"),
        (Mistyped, "no attribute 'no_such_thing'.*[^,] Change the network's options, or its forwa"),
        (Views, "view size is not compatible.*Write reshape"),
        (InfersOnly, r"it uses torch\.inference_mode\(\): use detach\(\)"),
        (old_weight_norm, r"stem.0.weight is computed .*: use the one in torch"),
        (with_lock, "cannot be copied: TypeError: cannot pickle '_thread.lock' object: hold not"),
    ],
)
def test_why_a_network_fails_is_told_and_what_to_do(make, words):
    with pytest.raises(CannotCutError, match=words):
        cut_network(make(), SHAPE)


@pytest.mark.parametrize("size", [8, 32, 48])
def test_a_network_for_one_size_is_told_that_whatever_the_images_are(size):
    """And of what it is given, not of the images that are recorded."""
    message = refusal(LeNet(), (size, size, 3))
    assert "It takes images of 16x16: set data.image_size = 16, or change" in message
    assert "10007" not in message


def test_what_fails_for_another_reason_than_its_size_suggests_no_size():
    assert "image_size" not in refusal(Mistyped())
    assert "image_size" not in refusal(Views())
