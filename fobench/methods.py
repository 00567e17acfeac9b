"""The methods: what each does before a training step, and how its optimizer is laid out.

A method has `step()`, called before each training step; `frozen`, the number of frozen units; and
`state_dict()` and `load_state_dict()`. To add one: its options in `fobench/method_options.py`,
METHODS; its object and its freeze steps here; its name in `fobench/variants.py`; a line in the
table of `tests/faults/kills.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from fobench import schedule, store_plan
from fobench.freezeout import FreezeOut
from fobench.run import Run
from fobench.store_plan import Use

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


class ConstantRates:
    """Every group stays at the rate that it has now, nothing frozen."""

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


@dataclass(frozen=True)
class Kind:
    """How a method starts; when each unit freezes under it (the run's total steps for never); over
    how many steps it anneals (None for never)."""

    start: Callable[[Run, nn.Sequential, MakeOptimizer], tuple[Optimizer, Method]]
    freeze_steps: Callable[[Run, int], list[int]]
    annealing_steps: Callable[[Run], int | None]


def start_baseline(
    run: Run, network: nn.Sequential, make: MakeOptimizer
) -> tuple[Optimizer, Method]:
    # One parameter group, as anybody would train it: the groups of FreezeOut are a cost of its own.
    optimizer = make(network.parameters())
    steps = annealing_steps(run)
    return optimizer, CosineAnnealing(optimizer, steps) if steps else ConstantRates(optimizer)


def baseline_freeze_steps(run: Run, units: int) -> list[int]:
    return [run.total_steps] * units


def baseline_annealing_steps(run: Run) -> int | None:
    return run.total_steps if run.anneals else None


def start_freezeout(
    run: Run, network: nn.Sequential, make: MakeOptimizer
) -> tuple[Optimizer, Method]:
    optimizer = make([{"params": unit.parameters()} for unit in network])
    options, steps = run.method, annealing_steps(run)
    if steps is not None:
        schedule_of = (options.t0, options.scaling, options.scale_lr)
        return optimizer, FreezeOut(network, optimizer, steps, *schedule_of)
    if options.scale_lr:
        times = schedule.freeze_times(len(network), options.t0, options.scaling)
        for group, time in zip(optimizer.param_groups, times, strict=True):
            group["lr"] /= time
    return optimizer, ConstantRates(optimizer)


def freezeout_freeze_steps(run: Run, units: int) -> list[int]:
    steps = annealing_steps(run)
    if steps is None:
        return [run.total_steps] * units
    times = schedule.freeze_times(units, run.method.t0, run.method.scaling)
    return [min(step, run.total_steps) for step in schedule.freeze_steps(times, steps)]


def freezeout_annealing_steps(run: Run) -> int | None:
    """Those of the run; or, as the published code does, more, or none: it stays at step 0."""
    if not run.anneals:
        return None
    steps = run.total_steps
    return steps if run.method.compat == "none" else schedule.reference_steps(steps)


KINDS: dict[str, Kind] = {
    "baseline": Kind(start_baseline, baseline_freeze_steps, baseline_annealing_steps),
    "freezeout": Kind(start_freezeout, freezeout_freeze_steps, freezeout_annealing_steps),
}


def start(run: Run, network: nn.Sequential, make: MakeOptimizer) -> tuple[Optimizer, Method]:
    """The optimizer and the method of a run, before its first step."""
    return KINDS[run.method_name].start(run, network, make)


def freeze_steps(run: Run, units: int) -> list[int]:
    """The step at which each unit freezes in a run; its total steps for a unit that never does."""
    return KINDS[run.method_name].freeze_steps(run, units)


def epochs_with_frozen_units(run: Run, units: int) -> list[Use]:
    """The epochs of a run that start with a frozen unit."""
    return store_plan.uses(
        freeze_steps(run, units),
        run.total_steps,
        run.steps_per_epoch,
        run.data_used.train_images,
        run.train.batch_size,
    )


def annealing_steps(run: Run) -> int | None:
    """The steps over which a run's rates are annealed to zero; None for never."""
    return KINDS[run.method_name].annealing_steps(run)
