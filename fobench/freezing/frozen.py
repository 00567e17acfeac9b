"""Frozen units: no gradient, no update, forward pass as in evaluation."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer


class FrozenUnits:
    """The permanently frozen units of a network.

    A frozen unit's parameters get no gradient and no update, neither by momentum nor by weight
    decay; their gradients and momentum are freed. Its BatchNorm uses the running statistics
    without updating them; its dropout is off.
    """

    def __init__(self, units: Iterable[nn.Module], optimizer: Optimizer) -> None:
        """`units` in forward order; `optimizer` with one parameter group per unit, same order."""
        self._units, self._optimizer = list(units), optimizer
        self._count = 0
        # Flat lists, so that `_keep` takes microseconds per step.
        self._modules: list[nn.Module] = []
        self._parameters: list[nn.Parameter] = []

    def __len__(self) -> int:
        return self._count

    def freeze(self, count: int) -> None:
        """Freeze the first `count` units; call it before each step, as it also keeps them so.

        Units that are frozen stay frozen, whatever `network.train()` or `requires_grad_()` did.
        """
        for index in range(self._count, count):
            unit, group = self._units[index], self._optimizer.param_groups[index]
            self._modules += unit.modules()
            self._parameters += unit.parameters()
            group["lr"] = 0.0
            for parameter in unit.parameters():
                parameter.grad = None  # even where it required none
                self._optimizer.state.pop(parameter, None)
        self._count = max(self._count, count)
        self._keep()

    def _keep(self) -> None:
        """Undo the effect of `network.train()` and `requires_grad_()` on frozen units."""
        for module in self._modules:
            if module.training:
                module.training = False
        for parameter in self._parameters:
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                parameter.grad = None
