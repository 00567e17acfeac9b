"""Frozen units: no gradient, no update, forward pass as in evaluation."""

import copyreg
from collections.abc import Sequence
from functools import cache
from types import new_class
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fobench.freezing.units import Unit

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


class FrozenUnits:
    """The frozen units of a network.

    A frozen unit's parameters get no gradient and no update, neither by momentum nor by weight
    decay; their gradients and momentum are freed. Its modules stay in evaluation mode: BatchNorm
    uses the running statistics without updating them, dropout is off. An embedding with `max_norm`
    no longer rescales its weights.
    """

    def __init__(self, units: Sequence[Unit], optimizer: Optimizer) -> None:
        """`units` in forward order."""
        self._units, self._optimizer = list(units), optimizer
        for unit in self._units:  # now, as a class may refuse to have subclasses
            for module in unit.modules:
                in_evaluation(type(module))
        self._hold_nothing()

    def _hold_nothing(self) -> None:
        self._count = 0
        self._modes: list[tuple[nn.Module, bool]] = []  # the mode of each module before
        # A flat list, so that keeping it without gradients takes microseconds per step.
        self._parameters: list[nn.Parameter] = []
        self._trained: list[nn.Parameter] = []

    def __len__(self) -> int:
        return self._count

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a copy together with the network, whose copied modules are of their own classes."""
        vars(self).update(state)
        for module, _ in self._modes:
            become(module, in_evaluation(type(module)))

    def freeze(self, count: int, weights_are_final: bool = False) -> None:
        """Freeze the first `count` units; call it before each step, as it also keeps them so.

        What an active unit holds, too, such as a shared ReLU, freezes with the last unit that
        holds it. With `weights_are_final` the weights are those of units that were frozen before.
        """
        for index in range(self._count, count):
            active = [module for later in self._units[index + 1 :] for module in later.modules]
            self._hold_modules(self._units[index].modules, active)
            self._hold_parameters(self._units[index].parameters)
            if not weights_are_final:
                for module in self._units[index].modules:
                    _rescale(module)
        self._count = max(self._count, count)
        self._keep_without_gradients()

    def release(self) -> None:
        """Let the frozen units train again, in the mode they had, and with gradients."""
        for module, mode in self._modes:
            become(module, type(module).__base__)
            module.training = mode
        for parameter in self._trained:
            parameter.requires_grad_(True)
        self._hold_nothing()

    def _hold_modules(self, modules: Sequence[nn.Module], active: Sequence[nn.Module]) -> None:
        others = {id(module) for module in active}
        held = [module for module in modules if id(module) not in others]
        self._modes += [(module, module.training) for module in held]
        before = [(module, module.training) for module in active]
        for module in held:
            module.eval()  # not only the flag: some classes do more in `train`
        for module, mode in before:
            module.training = mode
        for module in held:
            module.training = False
            become(module, in_evaluation(type(module)))

    def _hold_parameters(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters += parameters
        self._trained += [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in parameters:
            self._drop(parameter)  # even where it required no gradient

    def _keep_without_gradients(self) -> None:
        """Undo `requires_grad_()`."""
        for parameter in self._parameters:
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                self._drop(parameter)

    def _drop(self, parameter: nn.Parameter) -> None:
        parameter.grad = None
        self._optimizer.state.pop(parameter, None)


class InEvaluation:
    """Marks the classes of frozen modules."""


@cache
def in_evaluation(cls: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose modules are in evaluation mode, whatever is called or assigned.

    A frozen module becomes one of these, as torch's parametrized modules become of other classes.
    So neither a forward pass nor its compiled code ever meets another mode. Copies and pickles of
    a frozen module are of the class it had.
    """
    if issubclass(cls, InEvaluation):
        return cls

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        return self

    def reduce(self: nn.Module, protocol: int) -> tuple[Any, ...]:
        make, arguments, *rest = super(frozen, self).__reduce_ex__(protocol)
        if make is copyreg.__newobj__:
            make = object.__new__  # pickle would insist on the module's present class
        return make, tuple(cls if each is frozen else each for each in arguments), *rest

    members = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__reduce_ex__": reduce,
        "train": train,
        "training": constant(False),
    }
    if issubclass(cls, EMBEDDINGS):
        members["max_norm"] = constant(None)
    frozen = new_class(
        cls.__name__, (cls, InEvaluation), exec_body=lambda body: body.update(members)
    )
    return frozen


def become(module: nn.Module, cls: type[nn.Module]) -> None:
    """Change a module's class, past a `__setattr__` of its own."""
    object.__setattr__(module, "__class__", cls)


def constant(value: Any) -> property:
    """An attribute that ignores assignments."""
    return property(lambda _: value, lambda _, assigned: None)


@torch.no_grad()
def _rescale(module: nn.Module) -> None:
    """Rescale all weights of an embedding to its `max_norm`, as lookups did to their weights."""
    max_norm = vars(module).get("max_norm")
    if isinstance(module, EMBEDDINGS) and max_norm is not None:
        everything = torch.arange(len(module.weight), device=module.weight.device)
        torch.embedding_renorm_(module.weight, everything, max_norm, module.norm_type)
