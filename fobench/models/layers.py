"""What several networks are made of."""

from torch import nn


def pooled_classifier(channels: int, num_classes: int) -> nn.Sequential:
    """The head of a network of pre-activated units: BN-ReLU, global average, linear classifier."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, num_classes),
    )
