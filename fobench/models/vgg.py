"""VGG-16 (Simonyan, Zisserman 2014, arXiv 1409.1556) with BatchNorm, for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fobench.models.base import ModelOptions

if TYPE_CHECKING:
    from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 512


class VGGOptions(ModelOptions):
    """VGG-16 with BatchNorm: thirteen convolutions, each a unit, and the head."""

    name: ClassVar[str] = "vgg"
    smallest_image: ClassVar[int] = 4

    width: float = Field(1.0, gt=0, le=10, description="factor on all channels")
    dropout: float = Field(0.5, ge=0, lt=1, description="behind the two hidden layers")

    def slug(self) -> str:
        return "vgg-16" if self.width == 1 else f"vgg-16-x{self.width:g}"

    def title(self) -> str:
        return "VGG-16" if self.width == 1 else f"VGG-16, width {self.width:g}"

    def units(self, num_classes: int, in_channels: int) -> dict[str, nn.Module]:
        """Thirteen convolutions, each with the pooling behind it, and the head."""
        from fobench.models.layers import convolution, hidden_classifier

        channels = in_channels
        units: dict[str, nn.Module] = {}
        for stage, sizes in enumerate(STAGES, start=1):
            for number, size in enumerate(sizes, start=1):
                out_channels = self._scaled(size)
                pool = number == len(sizes)
                units[f"conv{stage}_{number}"] = convolution(channels, out_channels, pool)
                channels = out_channels
        units["head"] = hidden_classifier(channels, self._scaled(HIDDEN), num_classes, self.dropout)
        return units

    def _scaled(self, channels: int) -> int:
        return max(1, round(channels * self.width))
