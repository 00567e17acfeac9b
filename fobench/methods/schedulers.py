"""Schedulers that freeze nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fobench.freezing.schedule import learning_rate

if TYPE_CHECKING:
    from torch.optim import Optimizer


class CosineAnnealing:
    """Anneals every parameter group's rate from its initial value to zero."""

    frozen = 0

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:
        self._optimizer = optimizer
        self._initial_rates = initial_rates(optimizer)
        self._total_steps = total_steps
        self._steps = 0

    def step(self) -> None:
        progress = self._steps / self._total_steps
        rates = [learning_rate(initial, 1.0, progress) for initial in self._initial_rates]
        set_rates(self._optimizer, rates)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "initial_rates": list(self._initial_rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps, self._initial_rates = state["steps"], list(state["initial_rates"])


class ConstantRates:
    """Keeps each parameter group at a rate: the given one, or its initial one."""

    frozen = 0

    def __init__(self, optimizer: Optimizer, rates: Sequence[float] | None = None) -> None:
        self._optimizer = optimizer
        self._rates = initial_rates(optimizer) if rates is None else list(rates)

    def step(self) -> None:
        set_rates(self._optimizer, self._rates)

    def state_dict(self) -> dict[str, Any]:
        return {"rates": list(self._rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rates = list(state["rates"])


def initial_rates(optimizer: Optimizer) -> list[float]:
    from fobench.freezing.groups import initial_rate

    return [initial_rate(group) for group in optimizer.param_groups]


def set_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    from fobench.freezing import groups

    groups.set_rates(optimizer.param_groups, rates)
