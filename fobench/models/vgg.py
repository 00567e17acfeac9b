"""VGG-16 (Simonyan, Zisserman 2014, arXiv 1409.1556) with BatchNorm, for small images."""

from collections import OrderedDict

from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 512


def convolution(in_channels: int, out_channels: int, pool: bool) -> nn.Sequential:
    """conv3x3-BN-ReLU and, at the end of a stage, the pooling behind it."""
    layers = [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
    # Rounding up leaves a pixel to pool where a side is not a multiple of 32, such as 28.
    return nn.Sequential(*layers, *([nn.MaxPool2d(2, ceil_mode=True)] if pool else []))


class Head(nn.Sequential):
    """Two hidden layers, each linear-BN-ReLU-dropout, and the classifier.

    What is larger than one pixel after the last pooling is averaged first.
    """

    def __init__(self, channels: int, hidden: int, num_classes: int, dropout: float) -> None:
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for width in (channels, hidden):
            layers += [
                nn.Linear(width, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            ]
        super().__init__(*layers, nn.Linear(hidden, num_classes))
        for module in self:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)


def build(num_classes: int, in_channels: int, *, width: float, dropout: float) -> nn.Sequential:
    """The units of a VGG-16: thirteen convolutions and the head.

    Maps images [N, in_channels, H, W] to logits [N, num_classes]. `width` multiplies all channels.
    """
    channels = in_channels
    units: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, sizes in enumerate(STAGES, start=1):
        for number, size in enumerate(sizes, start=1):
            out_channels = scaled(size, width)
            pool = number == len(sizes)
            units[f"conv{stage}_{number}"] = convolution(channels, out_channels, pool)
            channels = out_channels
    units["head"] = Head(channels, scaled(HIDDEN, width), num_classes, dropout)
    return nn.Sequential(units)


def scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
