"""Frozen units: no gradient, no update, forward pass as in evaluation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from fobench.freezing.units import Unit

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


class FrozenUnits:
    """The frozen units of a network.

    A frozen unit's parameters get no gradient and no update, neither by momentum nor by weight
    decay; their gradients and momentum are freed. Its modules are in evaluation mode whatever calls
    `train()`: BatchNorm uses the running statistics without updating them, dropout is off. An
    embedding with `max_norm` no longer rescales its weights.
    """

    def __init__(self, units: Sequence[Unit], optimizer: Optimizer) -> None:
        """`units` in forward order."""
        self._units, self._optimizer = list(units), optimizer
        self._hold_nothing()

    def _hold_nothing(self) -> None:
        self._count = 0
        # Flat lists, so that keeping them frozen takes microseconds per step.
        self._modules: list[nn.Module] = []
        self._parameters: list[nn.Parameter] = []
        self._trained: list[nn.Parameter] = []
        self._max_norms: list[tuple[nn.Module, float]] = []
        self._hook: RemovableHandle | None = None

    def __len__(self) -> int:
        return self._count

    def freeze(self, count: int) -> None:
        """Freeze the first `count` units; call it before each step, as it also keeps them so.

        What an active unit holds, too, such as a shared ReLU, freezes with the last unit that
        holds it.
        """
        for index in range(self._count, count):
            unit = self._units[index]
            active = {id(each) for later in self._units[index + 1 :] for each in later.modules}
            shared = [(each, each.training) for each in unit.modules if id(each) in active]
            self._hold_modules([each for each in unit.modules if id(each) not in active])
            for module, mode in shared:
                module.training = mode
            self._hold_parameters(unit.parameters)
        self._count = max(self._count, count)
        if self._count and self._hook is None:
            hook = _BeforeForward(self._keep_in_evaluation)
            self._hook = self._units[0].root.register_forward_pre_hook(hook)
        self._keep_in_evaluation()
        self._keep_without_gradients()

    def release(self) -> None:
        """Let the frozen units train again: they answer `train()`, and require gradients."""
        if self._hook is not None:
            self._hook.remove()
        for module in self._modules:
            vars(module).pop("train", None)
        for module, max_norm in self._max_norms:
            module.max_norm = max_norm
        for parameter in self._trained:
            parameter.requires_grad_(True)
        self._hold_nothing()

    def _hold_modules(self, modules: Sequence[nn.Module]) -> None:
        for module in modules:
            module.eval()  # not only the flag: some classes do more in `train`
        for module in modules:
            module.train = _StaysInEvaluation(module)
            if isinstance(module, EMBEDDINGS) and module.max_norm is not None:
                self._max_norms.append((module, module.max_norm))
                _rescale(module)
                module.max_norm = None
        self._modules += modules

    def _hold_parameters(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters += parameters
        self._trained += [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in parameters:
            self._drop(parameter)  # even where it required no gradient

    def _keep_in_evaluation(self) -> None:
        """Undo assignments to `training`, which a network's own `train()` may do."""
        for module in self._modules:
            if module.training:
                module.training = False

    def _keep_without_gradients(self) -> None:
        """Undo `requires_grad_()`."""
        for parameter in self._parameters:
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                self._drop(parameter)

    def _drop(self, parameter: nn.Parameter) -> None:
        parameter.grad = None
        self._optimizer.state.pop(parameter, None)


class _StaysInEvaluation:
    """Takes the place of a frozen module's `train`, and changes nothing.

    Copies and pickles of the module are not frozen: they get the `train` of its class.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return self._module

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (type(self._module).train, self._module)


class _BeforeForward:
    """A hook of the first unit, as each forward pass begins with it.

    Copies and pickles of the unit get a hook that changes nothing: {}.get(unit, inputs) is inputs.
    """

    def __init__(self, keep_in_evaluation: Callable[[], None]) -> None:
        self._keep_in_evaluation = keep_in_evaluation

    def __call__(self, unit: nn.Module, inputs: Any) -> None:
        # Compiled code is guarded against changes of `training` by torch.
        if not torch.compiler.is_compiling():
            self._keep_in_evaluation()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (dict.get, {})


def is_frozen(module: nn.Module) -> bool:
    """Whether a FreezeOut has frozen this module, and not released it."""
    return isinstance(vars(module).get("train"), _StaysInEvaluation)


@torch.no_grad()
def _rescale(embedding: nn.Module) -> None:
    """Rescale all weights to `max_norm`, as a forward pass does to those that it looks up."""
    weight = embedding.weight
    everything = torch.arange(len(weight), device=weight.device)
    torch.embedding_renorm_(weight, everything, embedding.max_norm, embedding.norm_type)
