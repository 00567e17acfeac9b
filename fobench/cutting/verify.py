"""Compares a cut network with the network itself, bit for bit."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from fobench.cutting.refusals import FailedError, reason_of

# In training and in evaluation mode: as some networks ask whether it is even.
IMAGES = {True: 4, False: 3}


def differences(network: nn.Module, units: nn.Sequential, image_shape: Sequence[int]) -> list[str]:
    """In what the units differ from the network, on random images [H, W, C]; empty if in nothing.

    Compared are outputs, gradients and buffers, in both modes, from the same random state. The
    networks and the random state are left as they are.

    Raises FailedError if the network itself fails.
    """
    height, width, channels = image_shape
    found: list[str] = []
    with torch.random.fork_rng(devices=[]):
        for training, count in IMAGES.items():
            torch.manual_seed(0)
            images = torch.randn(count, channels, height, width)
            images = images.to(memory_format=torch.channels_last)
            mode = "training" if training else "evaluation"
            # One after the other: large networks need the memory.
            try:
                expected = outcome(copy.deepcopy(network).train(training), images)
            except Exception as error:
                raise FailedError(reason_of(error)) from error
            try:
                results = expected, outcome(copy.deepcopy(units).train(training), images)
            except Exception as error:
                if "allocate memory" in str(error):
                    raise FailedError(reason_of(error)) from error
                found.append(f"outputs in {mode} mode ({reason_of(error)})")
                continue
            found += [
                f"{what} in {mode} mode"
                for what, one, other in zip(
                    ("outputs", "gradients", "buffers"), *results, strict=True
                )
                if not same(one, other)
            ]
    return found


def runs(network: nn.Module, image_shape: Sequence[int]) -> bool:
    """Whether a forward pass of a copy on images [H, W, C] returns."""
    height, width, channels = image_shape
    try:
        with torch.no_grad():
            copy.deepcopy(network)(torch.zeros(IMAGES[True], channels, height, width))
    except Exception:
        return False
    return True


def outcome(network: nn.Module, images: torch.Tensor) -> list[list[torch.Tensor | None]]:
    """Outputs, gradients and buffers after a forward and a backward pass."""
    torch.manual_seed(1)
    output = network(images.clone(memory_format=torch.preserve_format))
    weights = torch.randn(output.shape)
    if output.requires_grad:
        (output * weights).sum().backward()
    state = getattr(network, "original", network)
    gradients = [parameter.grad for parameter in state.parameters()]
    return [[output.detach()], gradients, list(state.buffers())]


def same(ones: Sequence[torch.Tensor | None], others: Sequence[torch.Tensor | None]) -> bool:
    """Whether tensors are equal, not-a-number included, or absent alike."""
    return len(ones) == len(others) and all(
        one is other or (one is not None and other is not None and equal(one, other))
        for one, other in zip(ones, others, strict=True)
    )


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(torch.allclose(one, other, 0, 0, equal_nan=True))
