"""The methods: what each does before a training step, and how its optimizer is laid out.

A method has `step()`, called before each training step; `frozen`, the number of frozen units; and
`state_dict()` and `load_state_dict()`. To add one: its options in `fobench/config.py`, METHODS;
its object and its freeze steps here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from fobench import schedule
from fobench.config import BaselineOptions, FreezeOutOptions
from fobench.freezeout import FreezeOut
from fobench.run import Run

MakeOptimizer = Callable[[Iterable[Any]], Optimizer]


class Method(Protocol):
    """What the training loop asks of a method."""

    frozen: int

    def step(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class CosineAnnealing:
    """The baseline: every rate annealed to zero over the whole run, nothing frozen."""

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
            group["lr"] = schedule.learning_rate(initial, 1.0, progress)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "initial_rates": list(self._initial_rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps, self._initial_rates = state["steps"], list(state["initial_rates"])


@dataclass(frozen=True)
class Kind:
    """How a method starts, and when each unit freezes under it (`total_steps` for never)."""

    start: Callable[[Any, nn.Sequential, MakeOptimizer, int], tuple[Optimizer, Method]]
    freeze_steps: Callable[[Any, int, int], list[int]]


def start_baseline(
    options: BaselineOptions, network: nn.Sequential, make: MakeOptimizer, total_steps: int
) -> tuple[Optimizer, Method]:
    # One parameter group, as anybody would train it: the groups of FreezeOut are a cost of its own.
    optimizer = make(network.parameters())
    return optimizer, CosineAnnealing(optimizer, total_steps)


def start_freezeout(
    options: FreezeOutOptions, network: nn.Sequential, make: MakeOptimizer, total_steps: int
) -> tuple[Optimizer, Method]:
    optimizer = make([{"params": unit.parameters()} for unit in network])
    method = FreezeOut(
        network, optimizer, total_steps, options.t0, options.scaling, options.scale_lr
    )
    return optimizer, method


def baseline_freeze_steps(options: BaselineOptions, units: int, total_steps: int) -> list[int]:
    return [total_steps] * units


def freezeout_freeze_steps(options: FreezeOutOptions, units: int, total_steps: int) -> list[int]:
    times = schedule.freeze_times(units, options.t0, options.scaling)
    return schedule.freeze_steps(times, total_steps)


KINDS: dict[str, Kind] = {
    "baseline": Kind(start_baseline, baseline_freeze_steps),
    "freezeout": Kind(start_freezeout, freezeout_freeze_steps),
}


def start(run: Run, network: nn.Sequential, make: MakeOptimizer) -> tuple[Optimizer, Method]:
    """The optimizer and the method of a run, before its first step."""
    return KINDS[run.method_name].start(run.method, network, make, run.total_steps)


def freeze_steps(run: Run, units: int) -> list[int]:
    """The step at which each unit freezes in a run; its total steps for a unit that never does."""
    return KINDS[run.method_name].freeze_steps(run.method, units, run.total_steps)
