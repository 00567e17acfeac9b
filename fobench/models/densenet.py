"""DenseNet-BC (Huang, Liu, van der Maaten, Weinberger 2017, arXiv 1608.06993) for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from fobench.models.base import ModelOptions, check_depth

if TYPE_CHECKING:
    from torch import nn

BLOCKS = 3
BOTTLENECK = 4  # the 1x1 convolution has this many times growth_rate channels


class DenseNetOptions(ModelOptions):
    """DenseNet-BC: three dense blocks of (depth - 4) / 6 layers, each a unit."""

    name: ClassVar[str] = "densenet"
    smallest_image: ClassVar[int] = 4

    depth: int = Field(
        ge=10, le=1000, description="layers with weights, 6·n + 4: n dense layers per block"
    )
    growth_rate: int = Field(ge=1, le=1000, description="channels that each dense layer adds")
    reduction: float = Field(
        0.5, gt=0, le=1, description="share of the channels that a transition keeps"
    )

    _valid_depth = field_validator("depth")(check_depth)

    @field_validator("reduction")
    @classmethod
    def _channels_are_left(cls, reduction: float, info: ValidationInfo) -> float:
        if {"depth", "growth_rate"} <= info.data.keys():
            channels, added = 2 * info.data["growth_rate"], info.data["growth_rate"]
            for _ in range(BLOCKS - 1):
                channels = int((channels + (info.data["depth"] - 4) // 6 * added) * reduction)
                if channels < 1:
                    raise ValueError(
                        f"reduction = {reduction}: a transition would leave no channel; raise it"
                    )
        return reduction

    def slug(self) -> str:
        return f"densenet-{self.depth}-{self.growth_rate}"

    def title(self) -> str:
        return f"DenseNet-BC {self.depth}-{self.growth_rate}"

    def units(self, num_classes: int, in_channels: int) -> dict[str, nn.Module]:
        """First convolution, dense layers, transitions, head."""
        from torch import nn

        from fobench.models.layers import DenseLayer, pooled_classifier, transition

        channels = 2 * self.growth_rate
        units: dict[str, nn.Module] = {
            "conv": nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        }
        for block in range(1, BLOCKS + 1):
            for layer in range(1, (self.depth - 4) // 6 + 1):
                width = BOTTLENECK * self.growth_rate
                units[f"block{block}_layer{layer}"] = DenseLayer(channels, width, self.growth_rate)
                channels += self.growth_rate
            if block < BLOCKS:
                kept = int(channels * self.reduction)
                units[f"transition{block}"] = transition(channels, kept)
                channels = kept
        units["head"] = pooled_classifier(channels, num_classes)
        return units
