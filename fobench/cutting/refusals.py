"""What a forward pass must not do where it is recorded inside: its units would not do it again."""

import copy
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fobench.errors import UserError, place_of

# In torch's errors on tensors without memory; 'meta' in quotes is a name of the user's.
MENTIONS_META = re.compile(r"(?<!['\"])\bmeta\b(?!['\"])", re.IGNORECASE)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class CannotCutError(UserError):
    """A network cannot be divided into units."""


class CannotRecordError(Exception):
    """A forward pass cannot be recorded; the text says why."""


class FailedError(CannotRecordError):
    """A forward pass fails, whether it is recorded or not."""


def refusal_of(error: Exception) -> CannotRecordError:
    """What to raise for an error in a forward pass on tensors without memory."""
    if isinstance(error, CannotRecordError):
        return error
    text, place = str(error).partition("\n")[0], place_of(error)
    if "Inference tensors" in text:
        return CannotRecordError(f"it uses torch.inference_mode(): use detach(){place}")
    if "expected device meta" in text:
        return CannotRecordError(f"it uses a tensor that none of its modules holds{place}")
    if (
        MENTIONS_META.search(text)
        or "data-dependent" in text
        or isinstance(error, NotImplementedError)
    ):
        return CannotRecordError(
            f"what it does depends on the values in its tensors ({text}){place}"
        )
    return FailedError(reason_of(error))


def reason_of(error: Exception) -> str:
    """What was raised, and where in the user's code."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}{place_of(error)}"


def copy_of(network: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy. Raises CannotCutError if there is none."""
    try:
        return copy.deepcopy(network, memo)
    except Exception as error:
        held = [
            (f"{path}.{name}".lstrip("."), each)
            for path, module in network.named_modules()
            for name, each in vars(module).items()
        ]
        computed = [name for name, each in held if is_computed(each)]
        kept = [name for name, each in held if any(map(is_computed, contained(each)))]
        if computed:
            why = (
                f"{computed[0]} is computed from other tensors, but not in a forward pass, as by "
                "the old torch.nn.utils.weight_norm: use the one in torch.nn.utils.parametrizations"
            )
        elif kept:
            why = (
                f"{kept[0]} holds tensors that were computed in a forward pass, even one of a "
                "copy, as a hook does that refers to the network itself: make the hook a method, "
                "or leave it out"
            )
        else:
            why = f"{reason_of(error)}: hold nothing in its modules that cannot be copied"
        raise CannotCutError(f"{type(network).__name__} cannot be copied: {why}") from error


def is_computed(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not value.is_leaf


def contained(value: Any) -> Iterator[Any]:
    """What lists, tuples and dicts hold, also in each other."""
    todo, seen = [value], set()
    while todo:
        each = todo.pop()
        yield each
        if isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            todo += each.values() if isinstance(each, dict) else each


def has_hooks(module: nn.Module) -> bool:
    return any(vars(module).get(each) for each in HOOKS)


def random_states() -> tuple[Any, ...]:
    """The states of the generators of Python, numpy and torch."""
    numpy = sys.modules.get("numpy")
    with torch._C.DisableTorchFunction():
        of_torch = torch.get_rng_state()
        drawn = numpy.random.get_state() if numpy else ("", b"")
        return random.getstate(), of_torch.numpy().tobytes(), (*drawn[2:], bytes(drawn[1]))


@contextmanager
def drawing_nothing() -> Iterator[None]:
    """Raises CannotRecordError if the block draws random numbers on the CPU."""
    before = random_states()
    yield
    if random_states() != before:
        raise CannotRecordError(
            "it draws random numbers that are no tensors on the device of the images, such as with "
            "random.random(): do so within its blocks"
        )


@contextmanager
def leaving_random_states() -> Iterator[None]:
    numpy = sys.modules.get("numpy")
    before = random.getstate(), torch.get_rng_state(), numpy and numpy.random.get_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        torch.set_rng_state(before[1])
        if numpy:
            numpy.random.set_state(before[2])


@contextmanager
def refusing_autocast(is_paused: Callable[[], bool]) -> Iterator[None]:
    """Autocast raises CannotRecordError in the block, but for where recording is paused."""
    enter = torch.autocast.__enter__

    def enter_if_paused(self: torch.autocast) -> Any:
        if not is_paused():
            raise CannotRecordError("it switches autocast on or off: do so within a module")
        return enter(self)

    torch.autocast.__enter__ = enter_if_paused
    try:
        yield
    finally:
        torch.autocast.__enter__ = enter


@contextmanager
def assigning_nothing(module: nn.Module) -> Iterator[None]:
    """Raises CannotRecordError if the block assigns to a parameter or a buffer of the module."""
    before = {**module._parameters, **module._buffers}
    yield
    after = {**module._parameters, **module._buffers}
    assigned = [name for name, tensor in before.items() if after.get(name) is not tensor]
    if assigned:
        raise CannotRecordError(
            f"it assigns to {assigned[0]} in its forward pass: change it in place, such as with "
            f"self.{assigned[0]}.copy_(…)"
        )


def refuse_modes(function: Any) -> None:
    """Raises CannotRecordError for a function that switches gradients on or off."""
    if getattr(function, "__name__", "") == "_set_grad_enabled":
        raise CannotRecordError(
            "it switches gradients on or off, as torch.no_grad() does: use detach(), or "
            "requires_grad_(False) on what should not train"
        )
