"""DenseNet-BC (Huang, Liu, van der Maaten, Weinberger 2017, arXiv 1608.06993) for small images."""

from collections import OrderedDict

import torch
from torch import nn

from fobench.models.layers import pooled_classifier

BLOCKS = 3
BOTTLENECK = 4  # the 1x1 convolution has this many times growth_rate channels


class DenseLayer(nn.Module):
    """BN-ReLU-conv1x1-BN-ReLU-conv3x3; its new channels are appended to its input."""

    def __init__(self, channels: int, growth_rate: int) -> None:
        super().__init__()
        width = BOTTLENECK * growth_rate
        self.new_channels = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, growth_rate, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.new_channels(x)], dim=1)


def transition(channels: int, out_channels: int) -> nn.Sequential:
    """BN-ReLU-conv1x1, then half the resolution."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1, bias=False),
        nn.AvgPool2d(2),
    )


def build(
    num_classes: int,
    in_channels: int,
    *,
    depth: int,
    growth_rate: int,
    reduction: float,
) -> nn.Sequential:
    """The units of a DenseNet-BC: first convolution, dense layers, transitions, head.

    Maps images [N, in_channels, H, W] to logits [N, num_classes]. `depth` counts the layers
    with weights; each of the three blocks has (depth - 4) / 6 dense layers.
    """
    layers = (depth - 4) // 6
    channels = 2 * growth_rate
    units: OrderedDict[str, nn.Module] = OrderedDict()
    units["conv"] = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    for block in range(1, BLOCKS + 1):
        for layer in range(1, layers + 1):
            units[f"block{block}_layer{layer}"] = DenseLayer(channels, growth_rate)
            channels += growth_rate
        if block < BLOCKS:
            kept = int(channels * reduction)
            units[f"transition{block}"] = transition(channels, kept)
            channels = kept
    units["head"] = pooled_classifier(channels, num_classes)
    return nn.Sequential(units)
