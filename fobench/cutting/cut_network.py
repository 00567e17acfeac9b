"""A network as a sequence of its units, sharing its modules and parameters."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class CutNetwork(nn.Sequential):
    """The units of a network in forward order.

    They hold the network's own modules and parameters; its `state_dict` is the network's.

    Attributes:
        original: the network.
        memory_format: that in which the network trains.
        outputs: how many scores it returns for an image.
        notes: what a user may want to know of the cut.
    """

    def __init__(
        self,
        original: nn.Module,
        units: Mapping[str, nn.Module],
        memory_format: torch.memory_format = torch.channels_last,
        outputs: int = 0,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(OrderedDict(units))
        self._original = (original,)  # in a tuple, as it is no unit
        self.memory_format = memory_format
        self.outputs = outputs
        self.notes = tuple(notes)

    @property
    def original(self) -> nn.Module:
        return self._original[0]

    def __getitem__(self, index: slice | int) -> Any:
        if isinstance(index, slice):
            return nn.Sequential(*list(self)[index])
        return super().__getitem__(index)

    def train(self, mode: bool = True) -> "CutNetwork":
        """That of the original network, which may keep parts of it in evaluation mode."""
        super().train(mode)
        self.original.train(mode)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """That of the original network, with its keys."""
        return self.original.state_dict(*args, **kwargs)

    def load_state_dict(self, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        with self._keeping_units():
            return self.original.load_state_dict(state, *args, **kwargs)

    def _apply(self, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        with self._keeping_units():
            self.original._apply(function)
        # What the units hold alone needs nothing: copies of modules without parameters.
        return self

    @contextmanager
    def _keeping_units(self) -> Iterator[None]:
        """Tensors of the original can be replaced in the block: the units then get the new ones."""
        before = {id(each): place for place, each in held_tensors(self.original)}
        loose = [
            (registry, name, before[id(tensor)])
            for unit in self.modules()
            for registry in (unit._parameters, unit._buffers)
            for name, tensor in registry.items()
            if tensor is not None and id(tensor) in before
        ]
        yield
        for registry, name, (owner, its) in loose:
            registry[name] = owner[its]


def memory_format_of(network: nn.Module) -> torch.memory_format:
    """That in which a network trains: channels last, but for one that only another suits."""
    return getattr(network, "memory_format", torch.channels_last)


def held_tensors(network: nn.Module) -> Any:
    """Each tensor of a network with its place: a registry and a name in it."""
    for module in network.modules():
        for registry in (module._parameters, module._buffers):
            for name, tensor in registry.items():
                if tensor is not None:
                    yield (registry, name), tensor


def modules_of_units(network: nn.Sequential) -> list[list[str]]:
    """For each unit the paths of the network's modules that it is made of, or else its class."""
    if not isinstance(network, CutNetwork):
        return [[type(unit).__name__] for unit in network]
    paths = {id(module): path for path, module in network.original.named_modules()}
    return [outermost(unit, paths) for unit in network]


def outermost(module: nn.Module, paths: Mapping[int, str]) -> list[str]:
    """The paths of the outermost modules within one that have one, by their id."""
    if id(module) in paths:
        return [paths[id(module)]]
    return [path for child in module.children() for path in outermost(child, paths)]
