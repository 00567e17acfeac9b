"""FLOPs of runs, and the saving they predict for a method; the paper's own estimate beside it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from fobench.costs.unit_costs import UnitCost, unit_costs_of
from fobench.experiment.run import Run


def step_flops(costs: Sequence[UnitCost], frozen: int) -> int:
    """FLOPs of one image's training step with the first `frozen` units frozen.

    All units run forward, the active ones backward, the first of them without input gradients.
    """
    forward = sum(cost.flops for cost in costs)
    backward = sum(cost.backward_flops for cost in costs[frozen + 1 :])
    return forward + backward + costs[frozen].first_backward_flops


def run_flops(costs: Sequence[UnitCost], freeze_steps: Sequence[int], total_steps: int) -> int:
    """FLOPs of a training with one image per step, by where each step's backward pass ends."""
    return sum(
        steps * step_flops(costs, frozen)
        for frozen, steps in steps_by_depth(freeze_steps, total_steps)
    )


def steps_by_depth(freeze_steps: Sequence[int], total_steps: int) -> Iterator[tuple[int, int]]:
    """(frozen units, steps with as many frozen), in order."""
    changes = sorted({0, total_steps, *(step for step in freeze_steps if step < total_steps)})
    for start, end in pairwise(changes):
        yield sum(step <= start for step in freeze_steps), end - start


def freeze_steps_of(run: Run) -> list[int]:
    """The step at which each unit of a run freezes; its total steps for a unit that never does."""
    return run.method.freeze_steps(run.info(len(unit_costs_of(run))))


def flops_of(run: Run, costs: Sequence[UnitCost]) -> int:
    """FLOPs of a training with one image per step."""
    return run_flops(costs, freeze_steps_of(run), run.total_steps)


def flops_saved_percent(run: Run, costs: Sequence[UnitCost]) -> float:
    """FLOPs saved compared with the baseline, in percent (negative if the run needs more)."""
    return 100 * (1 - flops_of(run, costs) / flops_of(run.baseline_run, costs))


def paper_step_cost(costs: Sequence[UnitCost], frozen: int) -> float:
    """The cost of a training step as the paper estimates it, as a share of one with nothing frozen.

    Each unit costs what its convolutions do, and its backward pass as much as its forward pass, as
    in `calc_speedup` of the published code. That multiplies what linear schedules save by 1.3,
    without a reason given: not here.
    """
    forward = sum(cost.convolution_flops for cost in costs)
    backward = sum(cost.convolution_flops for cost in costs[frozen:])
    return (forward + backward) / (2 * forward) if forward else 1.0


def paper_saved_percent(run: Run, costs: Sequence[UnitCost]) -> float:
    """Time saved compared with the baseline as the paper estimates it, in percent."""
    cost = sum(
        steps * paper_step_cost(costs, frozen)
        for frozen, steps in steps_by_depth(freeze_steps_of(run), run.total_steps)
    )
    return 100 * (1 - cost / run.baseline_run.total_steps)


def match_flops(run: Run) -> Run:
    """The run with as many steps as the FLOPs of the baseline of its epoch share pay for."""
    costs, steps = unit_costs_of(run), run.steps_by_share
    allowed = steps * step_flops(costs, 0)

    def is_paid_for(total_steps: int) -> bool:
        return flops_of(replace(run, matched_steps=total_steps), costs) <= allowed

    # Every step costs at least a forward pass, so doubling soon finds an upper bound.
    too_many = 2 * steps
    while is_paid_for(too_many):
        too_many *= 2
    found = bisect_left(range(steps, too_many), True, key=lambda each: not is_paid_for(each))
    return replace(run, matched_steps=steps + found - 1)


def ensemble_forward_flops(costs: Sequence[UnitCost], shared_units: Sequence[int]) -> float:
    """FLOPs of an ensemble's forward pass, as a multiple of one model's.

    `shared_units` are, of each member but the last, the units that it shares with all later ones.
    Shared units run once.
    """
    whole = sum(cost.flops for cost in costs)
    shared = (sum(cost.flops for cost in costs[:units]) for units in shared_units)
    return len(shared_units) + 1 - sum(shared) / whole


def total_flops(run: Run) -> int:
    """FLOPs of a run's training and evaluation, to compare the time that runs take."""
    costs = unit_costs_of(run)
    forward = sum(cost.flops for cost in costs)
    return run.train.batch_size * flops_of(run, costs) + images_evaluated(run) * forward


def images_evaluated(run: Run) -> int:
    """How often a network is run on an image of validation or test.

    An ensemble and its last member are tested besides the network; units that members share are not
    taken off.
    """
    used = run.data_used
    return used.validation_images * run.epochs + used.test_images * tests_of(run)


def tests_of(run: Run) -> int:
    """How often a run tests a network: an ensemble's members and the last of them alone, too."""
    size = run.method.ensemble_size
    return 1 if size == 1 else size + 2


def describe(run: Run) -> dict[str, Any]:
    """The unit table and the predicted saving, as written to run.json."""
    costs = unit_costs_of(run)
    freeze_steps = freeze_steps_of(run)
    return {
        "units": [
            {**asdict(cost), "freeze_step": step if step < run.total_steps else None}
            for cost, step in zip(costs, freeze_steps, strict=True)
        ],
        "annealing_steps": run.method.annealing_steps(run.info(len(costs))),
        "predictions": {
            "flops_saved_percent": flops_saved_percent(run, costs),
            "paper_saved_percent": paper_saved_percent(run, costs),
        },
    }
