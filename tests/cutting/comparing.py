"""What a network computes, and whether two compute the same, bit for bit."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Outcome:
    """Of one forward and backward pass: scores, gradients by parameter, buffers by name."""

    scores: torch.Tensor
    gradients: dict[str, torch.Tensor | None]
    buffers: dict[str, torch.Tensor]


def images_for(shape: tuple[int, int, int], count: int = 4) -> torch.Tensor:
    height, width, channels = shape
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, channels, height, width, generator=generator)


def outcome(called: nn.Module, network: nn.Module, images: torch.Tensor) -> Outcome:
    """Of `called`, which is `network` or its units; all random numbers from the same seed.

    Gradients and buffers are those of `network`, by its own names.
    """
    torch.manual_seed(1)
    network.zero_grad()
    scores = called(images.clone(memory_format=torch.preserve_format))
    if scores.requires_grad:
        factors = torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype)
        (scores * factors.view_as(scores)).sum().backward()
    gradients = {
        name: None if each.grad is None else each.grad.clone()
        for name, each in network.named_parameters()
    }
    buffers = {name: each.clone() for name, each in network.named_buffers()}
    return Outcome(scores.detach(), gradients, buffers)


def unlike(one: Outcome, other: Outcome) -> list[str]:
    """The names of what differs; empty if nothing does."""
    return list(_unlike(one, other))


def _unlike(one: Outcome, other: Outcome) -> Iterator[str]:
    if not same(one.scores, other.scores):
        yield "scores"
    for kind in ("gradients", "buffers"):
        mine, its = getattr(one, kind), getattr(other, kind)
        assert mine.keys() == its.keys()
        yield from (f"{kind} of {name}" for name in mine if not same(mine[name], its[name]))


def same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether two tensors have equal bits, shapes and types, or both are absent."""
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
