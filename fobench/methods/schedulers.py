"""Schedulers that freeze nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fobench.freezing.schedule import learning_rate

if TYPE_CHECKING:
    from torch.optim import Optimizer


class CosineAnnealing:
    """Anneals every parameter group's rate from its current value to zero."""

    frozen = 0

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:
        self._optimizer = optimizer
        self._initial_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._total_steps = total_steps
        self._steps = 0

    def step(self) -> None:
        progress = self._steps / self._total_steps
        groups = self._optimizer.param_groups
        for group, initial in zip(groups, self._initial_rates, strict=True):
            group["lr"] = learning_rate(initial, 1.0, progress)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "initial_rates": list(self._initial_rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps, self._initial_rates = state["steps"], list(state["initial_rates"])


class ConstantRates:
    """Keeps every parameter group at its current rate."""

    frozen = 0

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]

    def step(self) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {"rates": list(self._rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rates = list(state["rates"])
