"""FreezeOut as an object for any training loop.

optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.1, momentum=0.9)
freezeout = FreezeOut(network, optimizer, total_steps=epochs * len(loader))
for images, labels in batches:
    freezeout.step()
    optimizer.zero_grad()
    cross_entropy(network(images), labels).backward()
    optimizer.step()
"""

import operator
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from torch import nn
from torch.optim import Optimizer

from fobench.freezing.frozen import FrozenUnits, InEvaluation
from fobench.freezing.groups import initial_rate, restore_rate, set_rates, units_of_groups
from fobench.freezing.recompilation import warn_if_compilation_will_end
from fobench.freezing.schedule import freeze_steps, freeze_times, learning_rate
from fobench.freezing.units import Unit, require_separate, units_of


class FreezeOut:
    """Anneals each unit's learning rate to zero on its own schedule, then freezes the unit.

    Call `step()` before each training step. It sets the learning rates of each active unit's
    parameter groups and freezes the units that are due: their parameters get no gradient and no
    update (neither momentum nor weight decay), gradients and momentum are freed, BatchNorm uses its
    running statistics without updating them, and dropout is off. As the frozen units come first,
    the backward pass ends at the first active one. `network.train()` does not change a frozen unit,
    whenever it is called; `requires_grad_()` is undone by the next `step()`.

    The constructor sets the rates of the first step, so a loop may also call `step()` after each
    training step; its rates and freezes are then those of the step before.

    Args:
        units: the network in forward order, split into units that are frozen as a whole; for
            example an `nn.Sequential`, or a list of modules. It can be wrapped by `torch.compile`
            or DistributedDataParallel (with `find_unused_parameters=True`). The last unit with
            parameters that require gradients is the head: neither it nor what follows it freezes.
        optimizer: a torch optimizer whose updates scale with the learning rate, with one or more
            parameter groups per unit, in any order. The initial rates are the groups' `initial_lr`
            where a scheduler has set it, else their `lr`; one that is a tensor is filled in place.
            Groups of parameters that no unit holds are left alone.
        total_steps: training steps of the whole run.
        t0: freeze time of the first unit, before scaling, as a share of the run, in (0, 1].
        scaling: "linear", "squared" or "cubic".
        scale_lr: whether unit i starts at lr / t_i, so that the sum of its rates over the run is
            about the same for all units.

    Attributes:
        frozen: number of units, counted from the first, that are frozen now.

    Raises ValueError, with the reason, for units that cannot be trained or frozen apart, for
    parameter groups that do not fit them, and for numbers out of range.

    Source: Brock et al. 2017, arXiv 1706.04983.
    """

    def __init__(
        self,
        units: nn.Module | Iterable[nn.Module],
        optimizer: Optimizer,
        total_steps: int,
        t0: float = 0.8,
        scaling: str = "cubic",
        scale_lr: bool = True,
    ) -> None:
        network, self.optimizer = units, optimizer
        self.total_steps = _whole_number(total_steps)
        units = units_of(units)
        _require_released(units)
        head = _head_of(units)
        require_separate(units, head)
        self._unit_of_group = units_of_groups(units, optimizer)
        self.freeze_times = freeze_times(head + 1, _number(t0), scaling)
        self.freeze_times += [1.0] * (len(units) - head - 1)
        self.freeze_steps = freeze_steps(self.freeze_times, self.total_steps)
        self._initial_rates = [
            initial_rate(group) / (self.freeze_times[unit] if scale_lr else 1.0)
            for unit, group in self._groups()
        ]
        self._steps = 0
        self._frozen = FrozenUnits(units, optimizer)
        self._anneal(progress=0.0)
        warn_if_compilation_will_end(network, self.freeze_steps, self.total_steps)

    @property
    def frozen(self) -> int:
        return len(self._frozen)

    def step(self) -> None:
        """Set the learning rates of the next training step, and freeze the units that are due."""
        if self._steps >= self.total_steps:
            raise ValueError(
                f"step() was called more often than total_steps = {self.total_steps}: "
                "give FreezeOut the number of training steps of the whole run"
            )
        self._frozen.freeze(bisect_right(self.freeze_steps, self._steps))
        self._anneal(progress=self._steps / self.total_steps)
        self._steps += 1

    def release(self) -> None:
        """Let the frozen units train again: call it when the training is over.

        Their parameters require gradients again, their modules are in the mode that they had and
        answer `train()`, and the learning rates are the initial ones.
        """
        self._frozen.release()
        for _, group in self._groups():
            restore_rate(group)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to resume, besides the states of network and optimizer."""
        return {
            "steps": self._steps,
            "freeze_steps": list(self.freeze_steps),
            "initial_rates": list(self._initial_rates),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state` was saved. Load the network and the optimizer first.

        Raises ValueError if `state` belongs to another schedule or optimizer, or would thaw a unit.
        """
        if list(state["freeze_steps"]) != self.freeze_steps:
            raise ValueError(
                "this state belongs to another schedule: units, total_steps, t0 and scaling "
                "must be those of the run that saved it"
            )
        if len(state["initial_rates"]) != len(self._initial_rates):
            raise ValueError(
                "this state belongs to an optimizer with other parameter groups: group the "
                "parameters as the run that saved it"
            )
        # The units frozen at the last step taken; the first step never freezes a unit.
        frozen = bisect_right(self.freeze_steps, state["steps"] - 1)
        if frozen < self.frozen:
            raise ValueError("a frozen unit does not thaw: call release() before loading this")
        self._initial_rates = list(state["initial_rates"])
        self._steps = state["steps"]
        self._frozen.freeze(frozen, weights_are_final=True)
        self._anneal(progress=max(0, self._steps - 1) / self.total_steps)

    def _groups(self) -> list[tuple[int, dict[str, Any]]]:
        """The parameter groups of units, each with its unit.

        Not kept: loading a state replaces the groups of an optimizer.
        """
        pairs = zip(self._unit_of_group, self.optimizer.param_groups, strict=False)
        return [(unit, group) for unit, group in pairs if unit is not None]

    def _anneal(self, progress: float) -> None:
        groups, rates = [], []
        for (unit, group), initial in zip(self._groups(), self._initial_rates, strict=True):
            frozen = unit < self.frozen
            groups.append(group)
            rates.append(
                0.0 if frozen else learning_rate(initial, self.freeze_times[unit], progress)
            )
        set_rates(groups, rates)


def _require_released(units: Sequence[Unit]) -> None:
    for index, unit in enumerate(units):
        if any(isinstance(module, InEvaluation) for module in unit.modules):
            raise ValueError(
                f"unit {index} was frozen by another FreezeOut: call release() on that one, or "
                "build the network anew"
            )


def _head_of(units: Sequence[Unit]) -> int:
    """The last unit that trains. Raises ValueError if there is none, or no unit to freeze."""
    trained = [index for index, unit in enumerate(units) if unit.trained]
    if not trained:
        raise ValueError(
            "no unit has a parameter that requires a gradient, so there is nothing to train"
        )
    if len(trained) == 1:
        raise ValueError(
            f"only unit {trained[0]} of {len(units)} has parameters that require gradients, and "
            "the last such unit never freezes: divide the network into more units"
        )
    return trained[-1]


def _whole_number(total_steps: Any) -> int:
    try:
        if isinstance(total_steps, bool) or operator.index(total_steps) < 1:
            raise TypeError
    except TypeError:
        raise ValueError(
            f"total_steps must be an integer of at least 1, not {total_steps!r}"
        ) from None
    return operator.index(total_steps)


def _number(t0: Any) -> float:
    if isinstance(t0, bool) or not isinstance(t0, Real):
        raise ValueError(f"t0 must be a number above 0 and at most 1, not {t0!r}")
    return float(t0)
