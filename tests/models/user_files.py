"""A user's file with small networks, as tests write it."""

from pathlib import Path

SOURCE = '''
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(x + self.norm(self.conv(x)))


class Net(nn.Module):
    """A stem, two residual blocks, dropout, a head."""

    def __init__(self, num_classes, width=4, in_channels=3, dropout=0.2):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.first, self.second = Block(width), Block(width)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.second(self.first(F.relu(self.stem(x))))
        return self.fc(self.dropout(x.mean((2, 3))))


class Colours(Net):
    """Takes images of three channels alone."""

    def __init__(self, num_classes):
        super().__init__(num_classes)


class Tokens(nn.Module):
    """As a transformer, without BatchNorm: patches, a class token, blocks, a norm, a head."""

    def __init__(self, num_classes, img_size=32, width=8):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.1 * torch.randn(1, (img_size // 8) ** 2 + 1, width))
        layers = {"dropout": 0.1, "batch_first": True, "norm_first": True}
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, **layers) for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


class Dense(nn.Module):
    """Each layer reads the stem and all layers before it; what crosses is a tuple."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4)
        self.layers = nn.ModuleList(nn.Conv2d(4 * n, 4, 3, padding=1) for n in (1, 2, 3))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        maps = [self.stem(x)]
        for layer in self.layers:
            maps.append(F.relu(layer(torch.cat(maps, 1))))
        return self.fc(torch.cat(maps, 1).mean((2, 3)))


def small_resnet(**options):
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [1, 1, 1, 1], **options)
'''


def write_networks(folder: Path, name: str = "mynet.py", source: str = SOURCE) -> str:
    """Write the file into the folder. Returns the path as text."""
    (folder / name).write_text(source)
    return str(folder / name)
