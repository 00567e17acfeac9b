"""Schedulers that methods share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fobench.freezing.schedule import learning_rate, restarted_rate

if TYPE_CHECKING:
    from torch import nn
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


class CosineCycles:
    """Anneals the rate of each parameter group again and again, with warm restarts."""

    frozen = 0

    def __init__(self, optimizer: Optimizer, rates: Sequence[float], cycle_steps: int) -> None:
        """`rates` are those of each group at the start of each cycle of `cycle_steps` steps."""
        self._optimizer, self._rates = optimizer, list(rates)
        self._cycle_steps = cycle_steps
        self._steps = 0

    def step(self) -> None:
        steps, length = self._steps, self._cycle_steps
        set_rates(self._optimizer, [restarted_rate(rate, steps, length) for rate in self._rates])
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "rates": list(self._rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps, self._rates = state["steps"], list(state["rates"])


class FreezingCycles(CosineCycles):
    """The same, with units that freeze at the given steps; the rates of their groups are then 0."""

    def __init__(
        self,
        network: nn.Sequential,
        optimizer: Optimizer,
        rates: Sequence[float],
        cycle_steps: int,
        freeze_steps: Sequence[int],
    ) -> None:
        from fobench.freezing.frozen import FrozenUnits
        from fobench.freezing.units import units_of

        super().__init__(optimizer, rates, cycle_steps)
        self._unit_of_group = units_of_groups(network, optimizer)
        self._units = FrozenUnits(units_of(network), optimizer)
        self._freeze_steps = list(freeze_steps)

    @property
    def frozen(self) -> int:
        return len(self._units)

    def step(self) -> None:
        frozen = bisect_right(self._freeze_steps, self._steps)
        self._units.freeze(frozen)
        pairs = zip(self._unit_of_group, self._rates, strict=True)
        self._rates = [0.0 if unit < frozen else rate for unit, rate in pairs]
        super().step()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        # The units frozen at the last step taken.
        frozen = bisect_right(self._freeze_steps, self._steps - 1)
        self._units.freeze(frozen, weights_are_final=True)


def rates_of_groups(
    network: nn.Sequential, optimizer: Optimizer, rates: Sequence[float]
) -> list[float]:
    """The rate of each parameter group, given that of each unit."""
    return [rates[unit] for unit in units_of_groups(network, optimizer)]


def units_of_groups(network: nn.Sequential, optimizer: Optimizer) -> list[int]:
    """The unit of each parameter group; the head for a group of parameters that no unit holds."""
    from fobench.freezing import groups
    from fobench.freezing.units import units_of

    units = units_of(network)
    found = groups.units_of_groups(units, optimizer)
    return [len(units) - 1 if unit is None else unit for unit in found]


def initial_rates(optimizer: Optimizer) -> list[float]:
    from fobench.freezing.groups import initial_rate

    return [initial_rate(group) for group in optimizer.param_groups]


def set_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    from fobench.freezing import groups

    groups.set_rates(optimizer.param_groups, rates)
