"""What a network's forward pass does: the calls of torch's functions and of its modules, in order.

A tape is recorded on tensors without memory, for one size of images and any number of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

# The number of images while recording: a prime, so that whole numbers that are multiples of it come
# from the number of images. All others are constants of the network and of the images' size.
BATCH = 10_007


@dataclass(frozen=True)
class Value:
    """A tensor of the forward pass, by number; the images are number 0."""

    number: int


@dataclass(frozen=True)
class Attribute:
    """A parameter, or another tensor that a module holds, by its path."""

    path: str


@dataclass(frozen=True)
class Images:
    """A multiple of the number of images."""

    factor: int


@dataclass(frozen=True)
class OfImages:
    """The device of the images."""


@dataclass(frozen=True)
class Call:
    """A call of a function, or of the module at a path; its arguments hold the values above.

    `outputs` has the structure of the result, with a Value for each tensor. `scope` are the paths
    of the modules within which it was called, outermost first, each with the number of the call.
    `changes` are the values and attributes whose memory it writes to; `line` says which place in
    the source code calls it.
    """

    target: Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    scope: tuple[tuple[str, int], ...] = ()
    changes: tuple[Value | Attribute, ...] = ()
    line: tuple[str, int] | None = None

    @property
    def is_module(self) -> bool:
        return isinstance(self.target, str)

    def reads(self) -> Iterator[Value]:
        return (each for each in leaves((self.args, self.kwargs)) if isinstance(each, Value))

    def writes(self) -> Iterator[Value]:
        """Values that it makes, or changes in place."""
        return (each for each in leaves((self.outputs, self.changes)) if isinstance(each, Value))

    def changed_attributes(self) -> Iterator[Attribute]:
        return (each for each in self.changes if isinstance(each, Attribute))

    def attributes(self) -> Iterator[Attribute]:
        return (each for each in leaves((self.args, self.kwargs)) if isinstance(each, Attribute))


@dataclass
class Tape:
    """The calls of a forward pass, what it returned, and an example of each value.

    `examples` are tensors on the meta device. `why_leaves` says for modules that could not be
    recorded inside why they were not. `given` are the values that those recorded inside were
    called with, by scope.
    """

    calls: list[Call] = field(default_factory=list)
    result: Any = None
    examples: list[torch.Tensor] = field(default_factory=list)
    why_leaves: dict[str, str] = field(default_factory=dict)
    given: dict[tuple[tuple[str, int], ...], list[Value]] = field(default_factory=dict)


def memory_of(tensor: torch.Tensor) -> int:
    """Equal for tensors that lie in the same memory, such as a tensor and its views."""
    return tensor.untyped_storage()._cdata


def leaves(structure: Any) -> Iterator[Any]:
    """What is in nested lists, tuples, dicts and slices."""
    if isinstance(structure, list | tuple):
        for each in structure:
            yield from leaves(each)
    elif isinstance(structure, dict):
        for each in structure.values():
            yield from leaves(each)
    elif isinstance(structure, slice):
        yield from leaves((structure.start, structure.stop, structure.step))
    else:
        yield structure


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with the function's result in place of each leaf."""
    if isinstance(structure, torch.Size):
        return tuple(mapped(function, each) for each in structure)
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(mapped(function, each) for each in structure))
    if isinstance(structure, list | tuple):
        # Results of torch such as those of max() are tuples of a class of their own.
        kind = list if isinstance(structure, list) else tuple
        return kind(mapped(function, each) for each in structure)
    if isinstance(structure, dict):
        return {key: mapped(function, each) for key, each in structure.items()}
    if isinstance(structure, slice):
        parts = (structure.start, structure.stop, structure.step)
        return slice(*(mapped(function, each) for each in parts))
    return function(structure)
