"""What a network is before it is cut: without wrappers, initialised, in a memory format."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fobench.cutting.failures import runs, why_failed
from fobench.cutting.refusals import CannotCutError, FailedError, reason_of
from fobench.freezing.units import unwrap


def prepared(network: nn.Module, image_shape: Sequence[int]) -> nn.Module:
    """The network without wrappers, its lazy modules with sizes for images [H, W, C].

    Raises CannotCutError if that cannot be.
    """
    inner = unwrapped(network)
    initialise(inner, image_shape)
    return inner


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside of torch.compile or DataParallel, none of its modules compiled in place.

    A copy is not, with which it is compared; and freezing a unit would compile it anew.

    Raises CannotCutError for TorchScript, and if a part of the network is wrapped.
    """
    name = type(network).__name__
    try:
        inner = unwrap(network)
        for path, module in inner.named_modules():
            if unwrap(module) is not module:
                raise CannotCutError(
                    f"{type(inner).__name__}: {path} is wrapped in {type(module).__name__}: give "
                    "the module itself"
                )
            if module._compiled_call_impl is not None:  # by module.compile()
                module._compiled_call_impl = None
    except ValueError as error:
        raise CannotCutError(f"{name}: {error}") from error
    return inner


def initialise(network: nn.Module, image_shape: Sequence[int]) -> None:
    """Give lazy modules their sizes, by a forward pass on images [H, W, C].

    Raises CannotCutError if that fails, or leaves one without.
    """
    if not lazy_names(network):
        return
    height, width, channels = image_shape
    training = network.training
    network.eval()  # so that no statistics move
    try:
        with torch.no_grad():
            network(torch.zeros(2, channels, height, width))
    except Exception as error:
        failure = FailedError(reason_of(error))
        raise CannotCutError(why_failed(network, image_shape, failure)) from error
    network.train(training)
    for each in lazy_names(network):
        raise CannotCutError(
            f"{type(network).__name__}: the forward pass does not use {each}, which is lazy and "
            "has no size: leave it out, or give its size"
        )


def lazy_names(network: nn.Module) -> list[str]:
    held = (*network.named_parameters(), *network.named_buffers())
    return [name for name, each in held if is_lazy(each)]


def memory_format_for(network: nn.Module, image_shape: Sequence[int]) -> torch.memory_format:
    """In which format a network trains on images [H, W, C]: channels last, which is faster.

    Contiguous if it fails on the other, as it does with view() behind a convolution.
    """
    if any(each.is_meta for each in network.parameters()):  # it is counted, and not trained
        return torch.channels_last
    if runs(network, image_shape, torch.channels_last):
        return torch.channels_last
    can_run = runs(network, image_shape, torch.contiguous_format)
    return torch.contiguous_format if can_run else torch.channels_last
