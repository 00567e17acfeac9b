"""The parameter groups of an optimizer, by unit, and their learning rates."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer, Rprop

from fobench.freezing.units import Unit


def units_of_groups(units: Sequence[Unit], optimizer: Optimizer) -> list[int | None]:
    """The unit of each parameter group; None for a group of parameters that no unit holds.

    A unit can have several groups, such as one without weight decay.

    Raises ValueError for a group that joins units, if a parameter that trains is in no group, and
    for an optimizer that does not follow its learning rates.
    """
    if isinstance(optimizer, LBFGS | Rprop):
        raise ValueError(
            f"{type(optimizer).__name__} cannot train units at rates of their own: use another, "
            "such as SGD or AdamW"
        )
    unit_of = {id(each): index for index, unit in enumerate(units) for each in unit.parameters}
    groups = optimizer.param_groups
    found: list[int | None] = []
    for number, group in enumerate(groups):
        held = {unit_of.get(id(parameter)) for parameter in group["params"]}
        if len(held) > 1:
            raise ValueError(
                f"parameter group {number} holds parameters of {named(held)}, but each unit has a "
                'learning rate of its own: give groups such as [{"params": unit.parameters()} for '
                "unit in units]"
            )
        found += held or {None}
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    for index, unit in enumerate(units):
        missing = [parameter for parameter in unit.trained if id(parameter) not in grouped]
        if missing:
            raise ValueError(
                f"{len(missing)} parameters of unit {index} require gradients, but are in no "
                "parameter group: add them to the optimizer (there can be only one), or freeze "
                "them with requires_grad_(False)"
            )
    return found


def named(units: set[int | None]) -> str:
    """Units in a message, the first three at most."""
    numbers = sorted(unit for unit in units if unit is not None)
    parts = ["no unit"] * (None in units) + [f"unit {number}" for number in numbers]
    return " and ".join(parts[:3]) + " and others" * (len(parts) > 3)


def initial_rate(group: dict[str, Any]) -> float:
    """The group's initial learning rate, kept as `initial_lr` like that of torch's schedulers.

    If the rate is a tensor, the group gets one of its own: torch gives all groups the same one if
    the rate was given for all of them.
    """
    if isinstance(group["lr"], Tensor):
        group["lr"] = group["lr"].detach().clone()
    return float(group.setdefault("initial_lr", float(group["lr"])))


def restore_rate(group: dict[str, Any]) -> None:
    """Set the group's learning rate to its initial one again."""
    set_rates([group], [float(group.pop("initial_lr", group["lr"]))])


def scale_rates(groups: Sequence[dict[str, Any]], factor: float) -> None:
    """Multiply the learning rates of the groups; those that are tensors in place."""
    tensors = [group["lr"] for group in groups if isinstance(group["lr"], Tensor)]
    for group in groups:
        if not isinstance(group["lr"], Tensor):
            group["lr"] *= factor
    if tensors:
        torch._foreach_mul_(tensors, factor)


def set_rates(groups: Sequence[dict[str, Any]], rates: Sequence[float]) -> None:
    """Set the learning rates of the groups.

    Those that are tensors are set in place, as compiled and captured steps read them there: all in
    two operations, as on a device each takes long to start.
    """
    tensors, values = [], []
    for group, rate in zip(groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            tensors.append(group["lr"])
            values.append(rate)
        else:
            group["lr"] = rate
    if tensors:
        torch._foreach_zero_(tensors)
        torch._foreach_add_(tensors, values)
