"""Networks of a dozen kinds, as small as they can be with all their parts, and their units.

Those of torchvision and timm are small configurations of their own classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

CLASSES = 5


class ConvNormReLU(nn.Sequential):
    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Residual(nn.Module):
    """A block that changes its sum in place."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = ConvNormReLU(width, width)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        change = self.second(self.dropout(self.first(images)))
        change += images
        return functional.relu(change, inplace=True)


class Plain(nn.Module):
    """Without BatchNorm; the ReLUs between its convolutions are in place, one is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.relu(self.conv1(images))
        images = functional.max_pool2d(self.relu(self.conv2(images)), 2)
        images = self.conv3(images)
        images.relu_()
        return self.fc(images.mean((2, 3)))


class WithNorm(nn.Module):
    """A stem, stages of residual blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 8)
        self.layer1 = nn.Sequential(Residual(8, dropout=0.3), Residual(8))
        self.layer2 = nn.Sequential(ConvNormReLU(8, 12, stride=2), Residual(12))
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.layer2(self.layer1(self.stem(images)))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(images, 1), 1))


class Branches(nn.Module):
    """As Inception: parallel branches, and an auxiliary head that is used in training."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.small = nn.Conv2d(width, width // 2, 1)
            self.large = nn.Sequential(ConvNormReLU(width, 4), ConvNormReLU(4, width // 2))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.small(images), self.large(images)], 1)

    def __init__(self, auxiliary: bool = False) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 8, stride=2)
        self.mixed1, self.mixed2 = self.Block(8), self.Block(8)
        self.auxiliary = nn.Linear(8, CLASSES) if auxiliary else None
        self.mixed3 = self.Block(8)
        self.dropout, self.fc = nn.Dropout(0.4), nn.Linear(8, CLASSES)

    def forward(self, images: torch.Tensor) -> object:
        images = images[:, [2, 1, 0]] * 0.5 + 0.1
        images = self.mixed2(self.mixed1(self.stem(images)))
        extra = None
        if self.auxiliary is not None and self.training:
            extra = self.auxiliary(images.mean((2, 3)))
        images = functional.avg_pool2d(self.mixed3(images), 8)
        scores = self.fc(self.dropout(images.flatten(1)))
        return scores if extra is None else (scores, extra)


class SharesWeights(nn.Module):
    """The second and the third block are one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block1 = ConvNormReLU(3, 6), Residual(6)
        self.block2, self.block3 = Residual(6), Residual(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.block2(self.block2(self.block1(self.stem(images))))
        return self.fc(self.block3(images).mean((2, 3)))


class ReadsItsMode(nn.Module):
    """Its forward branches on `training`: noise, dropout, an early return, a choice of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.blocks = nn.ModuleList([Residual(6), Residual(6)])
        self.norms = nn.ModuleList([nn.GroupNorm(2, 6), nn.GroupNorm(3, 6)])
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            images = images + 0.1 * torch.randn_like(images)
        images = functional.dropout(self.stem(images), 0.2, self.training)
        for block in self.blocks:
            images = block(images)
        images = self.norms[0 if self.training else 1](images)
        scores = self.fc(images.mean((2, 3)))
        if not self.training:
            return scores
        keep = torch.empty(len(images), 1, device=images.device).bernoulli_(0.8)
        return scores * keep


class Tokens(nn.Module):
    """A class token and position embeddings that are its own parameters, as in vision transformers.

    They are in a list and in a plain attribute; the queries of the last stage are its own, too.
    """

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            normed = self.norm(tokens)
            tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
            return tokens + self.mlp(tokens)

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.tokens = nn.ParameterList([torch.randn(1, 1, 8), torch.randn(1, 1, 8)])
        self.positions = nn.Parameter(torch.randn(1, 18, 8))
        self.dropout = nn.Dropout(0.1)
        self.block1, self.block2 = self.Block(8), self.Block(8)
        self.scale = nn.Parameter(torch.rand(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch(images).flatten(2).transpose(1, 2)
        own = [token.expand(images.shape[0], -1, -1) for token in self.tokens]
        tokens = self.dropout(torch.cat([*own, patches], dim=1) + self.positions)
        tokens = self.block1(tokens)
        tokens = self.block2(tokens * self.scale.exp())
        return self.head(self.norm(tokens)[:, :2].mean(1))


class Pairs(nn.Module):
    """Blocks that pass on a pair: of the images and of what skips every second one."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

        def forward(
            self, pair: tuple[torch.Tensor, torch.Tensor]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            images, skip = pair
            return self.norm(self.conv(images)).relu() + skip, images

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.blocks = nn.Sequential(*(self.Block(6) for _ in range(3)))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        images, skip = self.blocks((images, torch.zeros_like(images)))
        return self.fc((images - skip).mean((2, 3)))


class Counts(nn.Module):
    """Changes buffers in its own forward pass: a count, and a running mean that it uses."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.stem, self.block = ConvNormReLU(3, 6), Residual(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.batches += 1
            self.mean.mul_(0.9).add_(images.detach().mean((0, 2, 3)).view(3, 1, 1), alpha=0.1)
        images = self.block(self.stem(images - self.mean))
        return self.fc(images.mean((2, 3)))


class SharesDropout(nn.Module):
    """One dropout behind every block, and one within two of them, under two names."""

    class Block(nn.Module):
        def __init__(self, width: int, dropout: nn.Module) -> None:
            super().__init__()
            self.conv, self.before, self.after = nn.Conv2d(width, width, 1), dropout, dropout

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.after(self.conv(self.before(images)))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dropout, inner = nn.Conv2d(3, 6, 3), nn.Dropout(0.2), nn.Dropout(0.3)
        self.block1, self.block2 = self.Block(6, inner), self.Block(6, inner)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for layer in (self.stem, self.block1, self.block2):
            images = self.dropout(layer(images))
        return self.fc(images.mean((2, 3)))


def doubled(gradients: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor | None, ...]:
    return tuple(each if each is None else each * 2 for each in gradients)


class Hooked(nn.Sequential):
    """Hooks change what a block and a stage return; old and new weight norm on layers."""

    def __init__(self) -> None:
        stage = nn.Sequential(ConvNormReLU(6, 6), Residual(6))
        super().__init__(
            ConvNormReLU(3, 6), stage, Residual(6), nn.Flatten(), nn.Linear(384, CLASSES)
        )
        self[0].register_forward_hook(lambda module, given, result: result * 2)
        stage.register_forward_pre_hook(lambda module, given: (given[0] + 1,))
        stage.register_full_backward_hook(lambda module, given, result: doubled(given))
        nn.utils.parametrizations.weight_norm(self[4])
        nn.utils.parametrizations.spectral_norm(self[2].second)


def torchvision_densenet() -> nn.Module:
    from torchvision.models.densenet import DenseNet

    return DenseNet(4, (2, 2), 8, drop_rate=0.2, num_classes=CLASSES)


def torchvision_vit() -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer

    network = VisionTransformer(16, 4, 2, 2, 16, 32, dropout=0.1, num_classes=CLASSES)
    nn.init.normal_(network.heads.head.weight)  # zero at first: nothing would get a gradient
    return network


def torchvision_swin() -> nn.Module:
    from torchvision.models.swin_transformer import SwinTransformer

    options = {"dropout": 0.1, "stochastic_depth_prob": 0.3, "num_classes": CLASSES}
    return SwinTransformer([2, 2], 8, [2, 2], [2, 2], [2, 2], **options)


def torchvision_convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    stages = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 2)]
    return ConvNeXt(stages, stochastic_depth_prob=0.5, layer_scale=0.5, num_classes=CLASSES)


def torchvision_efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    stages = [MBConvConfig(1, 3, 1, 8, 8, 1, 1, 1), MBConvConfig(4, 3, 2, 8, 16, 2, 1, 1)]
    return EfficientNet(stages, dropout=0.2, stochastic_depth_prob=0.5, num_classes=CLASSES)


def timm_mixer() -> nn.Module:
    from timm.models.mlp_mixer import MlpMixer

    options = {"drop_path_rate": 0.3, "proj_drop_rate": 0.1, "num_classes": CLASSES}
    network = MlpMixer(img_size=16, patch_size=4, num_blocks=2, embed_dim=16, **options)
    nn.init.normal_(network.head.weight)
    return network


@dataclass(frozen=True)
class Example:
    """A network, the size of its images, and the names of the units that it is cut into."""

    make: Callable[[], nn.Module]
    size: int
    units: tuple[str, ...]
    needs: str = "torchvision"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.size, self.size, 3


EXAMPLES = {
    "plain": Example(Plain, 10, ("conv1", "conv2", "conv3", "fc")),
    "with norm": Example(
        WithNorm, 8, ("stem", "layer1_0", "layer1_1", "layer2_0", "layer2_1", "fc")
    ),
    "densenet": Example(
        torchvision_densenet,
        32,
        (
            "features_conv0",
            "features_denseblock1_denselayer1",
            "features_denseblock1_denselayer2",
            "features_transition1",
            "features_denseblock2_denselayer1",
            "features_denseblock2_denselayer2",
            "classifier",
        ),
    ),
    "vit": Example(
        torchvision_vit,
        16,
        (
            "conv_proj",
            "encoder_layers_encoder_layer_0",
            "encoder_layers_encoder_layer_1",
            "heads_head",
        ),
    ),
    "swin": Example(
        torchvision_swin,
        16,
        (
            *("features_0_0", "features_1_0", "features_1_1"),
            *("features_2", "features_3_0", "features_3_1", "head"),
        ),
    ),
    "convnext": Example(
        torchvision_convnext,
        32,
        (
            *("features_0", "features_1_0", "features_1_1", "features_2_1"),
            *("features_3_0", "features_3_1", "classifier_2"),
        ),
    ),
    "efficientnet": Example(
        torchvision_efficientnet,
        32,
        (
            *("features_0", "features_1_0", "features_2_0", "features_2_1"),
            *("features_3", "classifier_1"),
        ),
    ),
    "mixer": Example(timm_mixer, 16, ("stem", "blocks_0", "blocks_1", "head"), needs="timm"),
    "branches": Example(Branches, 16, ("stem", "mixed1", "mixed2", "mixed3", "fc")),
    "shares weights": Example(SharesWeights, 8, ("stem", "block1", "block2", "block3", "fc")),
    "reads its mode": Example(ReadsItsMode, 8, ("stem", "blocks_0", "blocks_1", "fc")),
    "tokens": Example(Tokens, 16, ("patch", "block1", "block2", "head")),
    "pairs": Example(Pairs, 8, ("stem", "blocks_0", "blocks_1", "blocks_2", "fc")),
    "counts": Example(Counts, 8, ("stem", "block", "fc")),
    "shares dropout": Example(SharesDropout, 8, ("stem", "block1", "block2", "fc")),
    # The second is a stage with hooks of its own, so that it stays one.
    "hooked": Example(Hooked, 8, ("0", "1", "2", "4")),
}
