"""Compares a cut network with the network itself, bit for bit."""

from collections.abc import Sequence

import torch
from torch import nn

from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.refusals import FailedError, copy_of, leaving_random_states, reason_of
from fobench.machine.seeds import seed_globally

# Mode and number of images of each pass: some networks ask whether it is even, or one.
TRAINING, EVALUATION, SINGLE = (True, 4), (False, 3), (False, 1)
NOISE = 0.01


def differences(network: nn.Module, units: CutNetwork, image_shape: Sequence[int]) -> list[str]:
    """In what the units differ from the network, on random images [H, W, C]; empty if in nothing.

    Compared are outputs, gradients and buffers, in both modes, from the same random state. The
    networks and the random state are left as they are.

    Raises FailedError if the network itself fails.
    """
    found: list[str] = []
    with leaving_random_states():
        for training, count in (TRAINING, EVALUATION, SINGLE):
            images = random_images(count, image_shape)
            given = images.clone(memory_format=units.memory_format)
            mode = f"in {'training' if training else 'evaluation'} mode"
            place = "for a single image" if count == 1 else mode
            # One after the other: large networks need the memory.
            try:
                expected = outcome(disturbed(network, units.memory_format, training), given)
            except Exception as error:
                if count == 1:  # as some layers do, on one
                    continue
                raise FailedError(reason_of(error)) from error
            try:
                result = outcome(disturbed(units, units.memory_format, training), images)
            except Exception as error:
                if "allocate memory" in str(error):
                    raise FailedError(reason_of(error)) from error
                found.append(f"outputs {place} ({reason_of(error)})")
                continue
            kinds = zip(("outputs", "gradients", "buffers"), expected, result, strict=True)
            found += [f"{what} {place}" for what, one, other in kinds if not same(one, other)]
    return found


def random_images(count: int, image_shape: Sequence[int], number: int = 0) -> torch.Tensor:
    """Images [count, C, H, W], in memory as those that a training is given."""
    seed_globally(0, number, "images to compare")
    return torch.randn(count, *image_shape).permute(0, 3, 1, 2)


def disturbed(
    network: nn.Module, memory_format: torch.memory_format, training: bool = True
) -> nn.Module:
    """A copy in a mode, each time with the same small changes of all parameters.

    A layer that starts at zero, such as a head, would hide what is computed before it.
    """
    copied = copy_of(network)
    seed_globally(0, 0, "noise")
    with torch.no_grad():
        for parameter in getattr(copied, "original", copied).parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter += NOISE * torch.randn_like(parameter)
    copied.train(training)
    return copied.to(memory_format=memory_format)


def outcome(network: nn.Module, images: torch.Tensor) -> list[list[torch.Tensor | None]]:
    """Outputs, gradients and buffers after a forward and a backward pass."""
    seed_globally(0, 0, "pass to compare")
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
