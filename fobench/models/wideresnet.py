"""WideResNet (Zagoruyko, Komodakis 2016, arXiv 1605.07146) for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from fobench.models.base import ModelOptions, check_depth

if TYPE_CHECKING:
    from torch import nn

GROUPS = 3
FIRST_CHANNELS = 16


class WideResNetOptions(ModelOptions):
    """WideResNet: three groups of (depth - 4) / 6 residual blocks, each a unit."""

    name: ClassVar[str] = "wideresnet"
    smallest_image: ClassVar[int] = 4

    depth: int = Field(
        ge=10, le=1000, description="convolutions, 6·n + 4: n residual blocks per group"
    )
    width: int = Field(ge=1, le=100, description="factor on the 16, 32 and 64 channels of groups")
    dropout: float = Field(0.0, ge=0, lt=1, description="between the convolutions of a block")

    _valid_depth = field_validator("depth")(check_depth)

    def slug(self) -> str:
        return f"wideresnet-{self.depth}-{self.width}"

    def title(self) -> str:
        return f"WideResNet {self.depth}-{self.width}"

    def units(self, num_classes: int, in_channels: int) -> dict[str, nn.Module]:
        """First convolution, residual blocks, head."""
        from torch import nn

        from fobench.models.layers import ResidualBlock, pooled_classifier

        channels = FIRST_CHANNELS
        units: dict[str, nn.Module] = {
            "conv": nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        }
        for group in range(1, GROUPS + 1):
            out_channels = FIRST_CHANNELS * 2 ** (group - 1) * self.width
            for block in range(1, (self.depth - 4) // 6 + 1):
                stride = 2 if group > 1 and block == 1 else 1
                units[f"group{group}_block{block}"] = ResidualBlock(
                    channels, out_channels, stride, self.dropout
                )
                channels = out_channels
        units["head"] = pooled_classifier(channels, num_classes)
        return units
