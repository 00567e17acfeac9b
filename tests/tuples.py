"""A small network whose units hand over tuples, write to what they are given, and order memory.

Cut behind "tokens", for example, cross a view [B, H, W, C] that the next unit writes to, and tokens
[B, N, C] with the batch within the tokens in memory, as torch's attention leaves them.
"""

from typing import ClassVar

import torch
from torch import nn

from fobench.models.base import ModelOptions

Pair = tuple[torch.Tensor, torch.Tensor]


class Branch(nn.Module):
    """A ReLU in place, and a second branch behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(6, 4, 3, stride=2, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> Pair:
        x = x.relu_()
        return x, self.down(x)


class Tokens(nn.Module):
    """A convolution seen as [B, H, W, C], and tokens [B, N, C] that lie as [N, B, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(6, 5, 1, bias=False)
        self.mix = nn.Linear(4, 4)

    def forward(self, values: Pair) -> Pair:
        wide, narrow = values
        tokens = self.mix(narrow.relu_().flatten(2).permute(2, 0, 1).contiguous())
        return self.wide(wide).permute(0, 2, 3, 1), tokens.transpose(0, 1)


class Block(nn.Module):
    """Adds to the grid in place, and to the tokens, which keep their order in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(5))
        self.mix = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.1)

    def forward(self, values: Pair) -> tuple[torch.Tensor, ...]:
        grid, tokens = values
        grid += self.shift
        tokens = tokens + self.dropout(self.mix(tokens))
        # No mean: with the batch within, torch sums in an order that depends on the place.
        return grid.permute(0, 3, 1, 2), tokens, tokens.amin(dim=1)


class Head(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(13, num_classes)

    def forward(self, values: tuple[torch.Tensor, ...]) -> torch.Tensor:
        grid, tokens, least = values
        pooled = [grid.relu_().mean(dim=(2, 3)), tokens.amax(dim=1), least]
        return self.classify(torch.cat(pooled, dim=1))


class TuplesOptions(ModelOptions):
    """Five units: a convolution, three that hand over tuples, and the head."""

    name: ClassVar[str] = "tuples"
    smallest_image: ClassVar[int] = 8

    def slug(self) -> str:
        return "tuples"

    def title(self) -> str:
        return "network of tuples"

    def units(self, num_classes: int, in_channels: int) -> dict[str, nn.Module]:
        conv = nn.Conv2d(in_channels, 6, 3, stride=4, padding=1, bias=False)
        return {
            "conv": nn.Sequential(conv, nn.BatchNorm2d(6)),
            "branch": Branch(),
            "tokens": Tokens(),
            "block": Block(),
            "head": Head(num_classes),
        }
