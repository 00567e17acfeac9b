"""What a frozen unit is: it gets no gradient and no update, and it computes as in evaluation."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer


class FrozenUnits:
    """The units of a network that are frozen, for good.

    A frozen unit's parameters get no gradient and no part in the optimizer's update, neither
    momentum nor weight decay, and the memory of both is freed. Its BatchNorm uses the running
    statistics and leaves them as they are; its dropout is off.
    """

    def __init__(self, units: Iterable[nn.Module], optimizer: Optimizer) -> None:
        """`units` in forward order; `optimizer` with one parameter group a unit, in that order."""
        self._units, self._optimizer = list(units), optimizer
        self._count = 0
        # Flat lists, so that `keep` costs microseconds a step.
        self._modules: list[nn.Module] = []
        self._parameters: list[nn.Parameter] = []

    def __len__(self) -> int:
        return self._count

    def freeze(self, count: int) -> None:
        """Freeze the first `count` units; those that are frozen stay so."""
        for index in range(self._count, count):
            unit, group = self._units[index], self._optimizer.param_groups[index]
            self._modules += unit.modules()
            self._parameters += unit.parameters()
            group["lr"] = 0.0
            for parameter in unit.parameters():
                parameter.requires_grad_(False)
                parameter.grad = None
                self._optimizer.state.pop(parameter, None)
        self._count = max(self._count, count)

    def keep(self) -> None:
        """Undo what `network.train()` or `requires_grad_()` did to frozen units since."""
        for module in self._modules:
            if module.training:
                module.training = False
        for parameter in self._parameters:
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                parameter.grad = None
