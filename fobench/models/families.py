"""Which network families there are and which options each takes. No torch.

To add one: write its options here, name it in FAMILIES, and give `fobench/models/<name>.py` a
function `build(num_classes, in_channels, **options)` that returns an `nn.Sequential` of units.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from fobench.options import option, rule


class ModelOptions(Protocol):
    """What the options of a family tell beside their values."""

    smallest_image: ClassVar[int]  # pixels a side

    def slug(self) -> str:
        """The network in a run id."""

    def title(self) -> str:
        """The network in a figure."""


@rule("depth")
def six_n_plus_four(depth: int) -> str | None:
    if depth % 6 == 4:
        return None
    lower = (depth - 4) // 6 * 6 + 4
    return f"depth = {depth}: give 6·n + 4, such as {lower} or {lower + 6}"


@rule("depth", "growth_rate", "reduction")
def channels_are_left(depth: int, growth_rate: int, reduction: float) -> str | None:
    channels = 2 * growth_rate
    for _ in range(2):
        channels = int((channels + (depth - 4) // 6 * growth_rate) * reduction)
        if channels < 1:
            return f"reduction = {reduction}: a transition would leave no channel; raise it"
    return None


@dataclass(frozen=True)
class DenseNetOptions:
    """DenseNet-BC: three dense blocks of (depth - 4) / 6 layers, each a unit."""

    depth: int = option(at_least=10, at_most=1000)
    growth_rate: int = option(at_least=1, at_most=1000)
    reduction: float = option(0.5, above=0, at_most=1)

    rules = (six_n_plus_four, channels_are_left)
    smallest_image = 4

    def slug(self) -> str:
        return f"densenet-{self.depth}-{self.growth_rate}"

    def title(self) -> str:
        return f"DenseNet-BC {self.depth}-{self.growth_rate}"


@dataclass(frozen=True)
class WideResNetOptions:
    """WideResNet: three groups of (depth - 4) / 6 residual blocks, each a unit."""

    depth: int = option(at_least=10, at_most=1000)
    width: int = option(at_least=1, at_most=100)
    dropout: float = option(0.0, at_least=0, below=1)

    rules = (six_n_plus_four,)
    smallest_image = 4

    def slug(self) -> str:
        return f"wideresnet-{self.depth}-{self.width}"

    def title(self) -> str:
        return f"WideResNet {self.depth}-{self.width}"


@dataclass(frozen=True)
class VGGOptions:
    """VGG-16 with BatchNorm: thirteen convolutions, each a unit, and the head."""

    width: float = option(1.0, above=0, at_most=10)
    dropout: float = option(0.5, at_least=0, below=1)

    smallest_image = 4

    def slug(self) -> str:
        return "vgg-16" if self.width == 1 else f"vgg-16-x{self.width:g}"

    def title(self) -> str:
        return "VGG-16" if self.width == 1 else f"VGG-16, width {self.width:g}"


FAMILIES: dict[str, type[ModelOptions]] = {
    "densenet": DenseNetOptions,
    "wideresnet": WideResNetOptions,
    "vgg": VGGOptions,
}
