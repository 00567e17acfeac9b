"""The memory that a run takes, told before it is trained: the least of it first, then the peak."""

import logging

import torch

from fobench.activations.plan import StorePlan
from fobench.activations.plan_file import format_bytes
from fobench.costs.unit_costs import FLOAT32, output_bytes_of, unit_costs_of
from fobench.experiment.run import Run
from fobench.machine.memory import (
    available_memory,
    memory_in_reach,
    memory_in_use,
    reset_peak_memory,
)
from fobench.machine.ranks import current
from fobench.training.optimizer import MOMENTS
from fobench.training.state import Training
from fobench.training.warmup import weight_bytes

log = logging.getLogger(__name__)

# Where a store takes room of the memory whose peak is measured, by device.
IN_MEMORY = {"cpu": "host memory", "cuda": "device memory"}


def log_least_memory(run: Run, device: torch.device, share: int | None = None) -> None:
    """Log, before any of it is taken, the least memory of a run; warn if less is free.

    Of the memory that is free when several runs are to be trained at once, one has this `share`.
    """
    reset_peak_memory(device)  # what earlier runs took is free
    free = available_memory(device)[0]
    if share is not None:
        free = max(0, min(free, share - memory_in_use(device)))
    least = least_bytes(run)
    if least <= free:
        log.info(
            "%s that training adds: at least %s; %s", memory_of(device), *shown(least, free, share)
        )
    else:
        log.warning(
            "%s that training adds: at least %s, but only %s: if the run fails, %s",
            *(memory_of(device), *shown(least, free, share), remedy(share)),
        )


def least_bytes(run: Run) -> int:
    """Bytes of a run's weights, their gradients and moments, and the units' outputs for a batch.

    Of several ranks, those of one, with its part of the batch.
    """
    train = run.train
    kept = 2 + MOMENTS[train.optimizer](train)
    weights = FLOAT32 * sum(cost.parameters for cost in unit_costs_of(run))
    batch = current().largest_part(min(train.batch_size, run.data_used.train_images))
    width = 2 if train.precision == "bfloat16" else 1  # times as narrow; TF32 is kept as float32
    return kept * weights + batch * output_bytes_of(run) // width


def memory_of(device: torch.device) -> str:
    return "GPU memory" if device.type == "cuda" else "memory"


def shown(needed: int, free: int, share: int | None) -> tuple[str, str]:
    """What is needed, and what can be had of it."""
    each = "" if share is None else " by each of the runs at once"
    return format_bytes(needed), f"{format_bytes(free)} can be had{each}"


def remedy(share: int | None) -> str:
    fewer = "" if share is None else "give fewer --jobs, "
    return f"{fewer}lower train.batch_size, or free memory"


def log_peak_memory(training: Training, share: int | None = None) -> None:
    """Log the peak memory of a run that is about to be trained; warn if it is more than there is.

    The warm-up has measured the network, the optimizer, the images, and a step's activations.
    `share` is as in `log_least_memory`.
    """
    device = training.device
    stores = store_bytes(training.activations.plan, device)
    peak = training.warmup_peak_bytes + stores + member_bytes(training)
    reach = memory_in_reach(device)
    reach = reach if share is None else min(reach, share)
    stored = f", stores of {format_bytes(stores)} included" if stores else ""
    needed, had = shown(peak, reach, share)
    told = f"{memory_of(device)} at the peak: about {needed}{stored}"
    if peak <= reach:
        log.info("%s; %s", told, had)
    else:
        log.warning("%s, but only %s: if the run fails, %s", told, had, remedy(share))


def store_bytes(plan: StorePlan, device: torch.device) -> int:
    """Bytes that stores take of the device's memory, or of the host's for the CPU."""
    return plan.peak_bytes if plan.place == IN_MEMORY[device.type] else 0


def member_bytes(training: Training) -> int:
    """Bytes that the members of an ensemble take there: on the device while they are tested."""
    size = training.run.method.ensemble_size
    if size == 1:
        return 0
    copies = 2 if training.device.type == "cpu" else 1  # snapshots are in the host's memory
    return copies * size * weight_bytes(training.network)
