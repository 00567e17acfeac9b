"""Building blocks of the networks."""

import torch
from torch import nn


class DenseLayer(nn.Module):
    """BN-ReLU-conv1x1-BN-ReLU-conv3x3; its new channels are appended to its input."""

    def __init__(self, channels: int, width: int, growth_rate: int) -> None:
        super().__init__()
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


class ResidualBlock(nn.Module):
    """BN-ReLU-conv3x3 twice, added to the input.

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


def transition(channels: int, out_channels: int) -> nn.Sequential:
    """BN-ReLU-conv1x1, then half the resolution."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1, bias=False),
        nn.AvgPool2d(2),
    )


def convolution(in_channels: int, out_channels: int, pool: bool) -> nn.Sequential:
    """conv3x3-BN-ReLU and, if asked for, the pooling behind it."""
    layers = [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
    # Rounding up keeps at least one pixel if a side is not a multiple of 32, such as 28.
    return nn.Sequential(*layers, *([nn.MaxPool2d(2, ceil_mode=True)] if pool else []))


def pooled_classifier(channels: int, num_classes: int) -> nn.Sequential:
    """The head of a network of pre-activated units: BN-ReLU, global average, linear classifier."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, num_classes),
    )


def hidden_classifier(
    channels: int, hidden: int, num_classes: int, dropout: float
) -> nn.Sequential:
    """Two hidden layers, each linear-BN-ReLU-dropout, and the classifier.

    Larger inputs are averaged to one pixel first. Linear weights start as normal(0, 0.01).
    """
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for width in (channels, hidden):
        layers += [
            nn.Linear(width, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        ]
    head = nn.Sequential(*layers, nn.Linear(hidden, num_classes))
    for module in head:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
    return head
