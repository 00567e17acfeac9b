"""FreezeOut as an object for any training loop.

optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.1, momentum=0.9)
freezeout = FreezeOut(network, optimizer, total_steps=epochs * len(loader))
for images, labels in batches:
    freezeout.step()
    optimizer.zero_grad()
    cross_entropy(network(images), labels).backward()
    optimizer.step()
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from fobench.freezing.frozen import FrozenUnits
from fobench.freezing.schedule import freeze_steps, freeze_times, learning_rate


class FreezeOut:
    """Anneals each unit's learning rate to zero on its own schedule, then freezes the unit.

    Call `step()` before each training step. It sets the learning rate of each active unit's
    parameter group and permanently freezes the units that are due: their parameters get no
    gradient and no update (neither momentum nor weight decay), gradients and momentum are freed,
    BatchNorm uses its running statistics without updating them, and dropout is off. As the frozen
    units come first, the backward pass ends at the first active one. A later `network.train()` or
    `requires_grad_()` is undone by the next `step()`.

    Args:
        units: the network in forward order, split into units that are frozen as a whole; the last
            is the head, which never freezes. For example an `nn.Sequential`.
        optimizer: any torch optimizer with one parameter group per unit, in the same order. The
            groups' current learning rates are the initial ones.
        total_steps: training steps of the whole run.
        t0: freeze time of the first unit, before scaling, as a share of the run, in (0, 1].
        scaling: "linear", "squared" or "cubic".
        scale_lr: whether unit i starts at lr / t_i, so that all units travel equally far.

    Attributes:
        frozen: number of units, counted from the first, that are frozen now.

    Raises ValueError if units, parameter groups and numbers do not match.

    Source: Brock et al. 2017, arXiv 1706.04983.
    """

    def __init__(
        self,
        units: Iterable[nn.Module],
        optimizer: Optimizer,
        total_steps: int,
        t0: float = 0.8,
        scaling: str = "cubic",
        scale_lr: bool = True,
    ) -> None:
        self.units = list(units)
        self.optimizer = optimizer
        self.total_steps = total_steps
        if not isinstance(total_steps, int) or total_steps < 1:
            raise ValueError(f"total_steps must be an integer of at least 1, not {total_steps!r}")
        _require_one_group_per_unit(self.units, optimizer)
        self.freeze_times = freeze_times(len(self.units), t0, scaling)
        self.freeze_steps = freeze_steps(self.freeze_times, total_steps)
        self._initial_rates = [
            float(group["lr"]) / time if scale_lr else float(group["lr"])
            for group, time in zip(optimizer.param_groups, self.freeze_times, strict=True)
        ]
        self._steps = 0
        self._frozen = FrozenUnits(self.units, optimizer)

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

    def state_dict(self) -> dict[str, Any]:
        """What is needed to resume, besides the states of network and optimizer."""
        return {
            "steps": self._steps,
            "freeze_steps": list(self.freeze_steps),
            "initial_rates": list(self._initial_rates),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state` was saved. Load the network and the optimizer first.

        Raises ValueError if `state` belongs to another schedule, or would thaw a unit.
        """
        if list(state["freeze_steps"]) != self.freeze_steps:
            raise ValueError(
                "this state belongs to another schedule: units, total_steps, t0 and scaling "
                "must be those of the run that saved it"
            )
        # The units frozen at the last step taken; the first step never freezes a unit.
        frozen = bisect_right(self.freeze_steps, state["steps"] - 1)
        if frozen < self.frozen:
            raise ValueError("a frozen unit does not thaw: load the state into a new FreezeOut")
        self._initial_rates = list(state["initial_rates"])
        self._steps = state["steps"]
        self._frozen.freeze(frozen)

    def _anneal(self, progress: float) -> None:
        active = slice(self.frozen, None)
        for group, initial, time in zip(
            self.optimizer.param_groups[active],
            self._initial_rates[active],
            self.freeze_times[active],
            strict=True,
        ):
            group["lr"] = learning_rate(initial, time, progress)


def _require_one_group_per_unit(units: list[nn.Module], optimizer: Optimizer) -> None:
    groups = optimizer.param_groups
    if len(groups) != len(units):
        raise ValueError(
            f"{len(units)} units need {len(units)} parameter groups, the optimizer has "
            f'{len(groups)}: build it with [{{"params": unit.parameters()}} for unit in units]'
        )
    for index, (unit, group) in enumerate(zip(units, groups, strict=True)):
        if {id(p) for p in unit.parameters()} != {id(p) for p in group["params"]}:
            raise ValueError(
                f"parameter group {index} does not hold exactly the parameters of unit {index}: "
                "give the groups in the order of the units"
            )
