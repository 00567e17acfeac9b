"""Why a network fails on images, and what to do."""

import inspect
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fobench.cutting.record import META, on_meta
from fobench.cutting.refusals import (
    CannotCutError,
    FailedError,
    copy_of,
    leaving_random_states,
    reason_of,
)

SIZES = (16, 28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)
CHANNELS = (1, 3)
IMAGES = 2


def why_failed(network: nn.Module, image_shape: Sequence[int], error: FailedError) -> str:
    """What to tell of a network that fails on images [H, W, C]."""
    height, width, channels = image_shape
    name = type(network).__name__
    needed = needed_arguments(network)
    if needed:
        return (
            f"{name}: its forward pass needs {needed[0]} besides the images: give it a default, or "
            "wrap the network in a module that gives it"
        )
    for path, parameter in network.named_parameters():
        if parameter.is_floating_point() and parameter.dtype is not torch.float32:
            return (
                f"{name}: {path} is {parameter.dtype}: make its weights float32, as images are; "
                "[train] precision says in which type to compute"
            )
        if parameter.device.type not in ("cpu", "meta"):
            return (
                f"{name}: {path} is on {parameter.device}: make the network on the CPU, so that it "
                "starts alike everywhere; fobench moves it to the device"
            )
    if not any(each.is_meta or is_lazy(each) for each in network.parameters()):
        # Recorded are other numbers of images, which its error names.
        raised = failure_of(network, image_shape)
        error = FailedError(reason_of(raised)) if raised else error
    return (
        f"{name} fails on images of {height}x{width} pixels and {counted(channels)}: {error}. "
        f"{mend(network, image_shape, error)}"
    )


def needed_arguments(network: nn.Module) -> list[str]:
    """The names of the arguments without default of its forward pass, but for the first."""
    try:
        parameters = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = [each for each in parameters if each.kind in named][:1]
    kinds = (*named, inspect.Parameter.KEYWORD_ONLY)
    return [
        each.name
        for each in parameters
        if each not in first and each.kind in kinds and each.default is each.empty
    ]


def mend(network: nn.Module, image_shape: Sequence[int], error: FailedError) -> str:
    height, width, channels = image_shape
    if "view size is not compatible" in str(error):
        return "Write reshape() or flatten() in place of view() in its forward pass"
    if "allocate memory" in str(error):
        return "Set a smaller data.image_size, or choose a smaller network"
    other_ways = "change the network's options, or its forward pass"
    if not any(map(is_lazy, network.parameters())) and not runs(network, image_shape):
        meta = on_meta(network)
        for count in CHANNELS:
            if count != channels and runs_on_meta(meta, (height, width, count)):
                return f"It takes images of {counted(count)}: {other_ways}"
        side = min(height, width)  # larger ones first, then the nearest
        for size in sorted(SIZES, key=lambda size: (size < side, abs(size - side))):
            if runs_on_meta(meta, (size, size, channels)):
                size_to_set = f"set data.image_size = {size}"
                return f"It takes images of {size}x{size}: {size_to_set}, or {other_ways}"
    return other_ways.capitalize()


def counted(channels: int) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''}"


def runs(
    network: nn.Module,
    image_shape: Sequence[int],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> bool:
    """Whether forward passes of a copy on images [H, W, C] return, in both modes."""
    return failure_of(network, image_shape, memory_format) is None


def failure_of(
    network: nn.Module,
    image_shape: Sequence[int],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Exception | None:
    """What a forward pass of a copy raises, in training or in evaluation mode."""
    images = torch.zeros(IMAGES, *image_shape).permute(0, 3, 1, 2)
    try:
        with leaving_random_states(), torch.no_grad():
            copied = copy_of(network).to(memory_format=memory_format)
            for training in (True, False):
                copied.train(training)
                copied(images.clone(memory_format=memory_format))
    except CannotCutError:  # as there is no copy
        raise
    except Exception as error:
        return error
    return None


def runs_on_meta(network: nn.Module, image_shape: Sequence[int]) -> bool:
    """The same of a network on the meta device."""
    height, width, channels = image_shape
    try:
        with leaving_random_states(), torch.no_grad(), META:
            network(torch.empty(IMAGES, channels, height, width))
    except Exception:
        return False
    return True
