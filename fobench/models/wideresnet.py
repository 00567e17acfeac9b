"""WideResNet (Zagoruyko, Komodakis 2016, arXiv 1605.07146) for small images."""

from collections import OrderedDict

import torch
from torch import nn

from fobench.models.layers import pooled_classifier

GROUPS = 3
FIRST_CHANNELS = 16


class ResidualBlock(nn.Module):
    """Two times BN-ReLU-conv3x3, added to the input.

    Where the block changes channels or resolution, the shortcut is a 1x1 convolution of the first
    activation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False) if changes else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.activation(x)
        kept = x if self.shortcut is None else self.shortcut(activated)
        return kept + self.residual(activated)


def build(
    num_classes: int, in_channels: int, *, depth: int, width: int, dropout: float
) -> nn.Sequential:
    """The units of a WideResNet: first convolution, residual blocks, head.

    Maps images [N, in_channels, H, W] to logits [N, num_classes]. `depth` counts the
    convolutions, those of the shortcuts too; each of the three groups has (depth - 4) / 6 blocks,
    of 16, 32 and 64 times `width` channels.
    """
    blocks = (depth - 4) // 6
    channels = FIRST_CHANNELS
    units: OrderedDict[str, nn.Module] = OrderedDict()
    units["conv"] = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    for group in range(1, GROUPS + 1):
        out_channels = FIRST_CHANNELS * 2 ** (group - 1) * width
        for block in range(1, blocks + 1):
            stride = 2 if group > 1 and block == 1 else 1
            units[f"group{group}_block{block}"] = ResidualBlock(
                channels, out_channels, stride, dropout
            )
            channels = out_channels
    units["head"] = pooled_classifier(channels, num_classes)
    return nn.Sequential(units)
