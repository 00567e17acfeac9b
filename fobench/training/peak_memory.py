"""The memory that a run takes at its peak, told before it is trained."""

import logging

import torch

from fobench.activations.plan import StorePlan
from fobench.activations.plan_file import format_bytes
from fobench.machine.memory import memory_in_reach
from fobench.training.state import Training
from fobench.training.warmup import weight_bytes

log = logging.getLogger(__name__)

# Where a store takes room of the memory whose peak is measured, by device.
IN_MEMORY = {"cpu": "host memory", "cuda": "device memory"}


def log_peak_memory(training: Training) -> None:
    """Log the peak memory of a run that is about to be trained; warn if it is more than there is.

    The warm-up has measured the network, the optimizer, the images, and a step's activations.
    """
    device = training.device
    stores = store_bytes(training.activations.plan, device)
    peak = training.warmup_peak_bytes + stores + member_bytes(training)
    reach = memory_in_reach(device)
    memory = "GPU memory" if device.type == "cuda" else "memory"
    stored = f", stores of {format_bytes(stores)} included" if stores else ""
    told = f"{memory} at the peak: about {format_bytes(peak)}{stored}"
    if peak <= reach:
        log.info("%s; %s can be had", told, format_bytes(reach))
    else:
        log.warning(
            "%s, but only %s can be had: if the run fails, lower train.batch_size, or free memory",
            *(told, format_bytes(reach)),
        )


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
