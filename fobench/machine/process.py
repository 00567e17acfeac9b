"""Which process this is, on which system, in which job; whether one is still there. No torch."""

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from fobench.machine.host import ROOT, read

# Of schedulers, the variables that hold a job's name, joined by "_".
JOBS = (
    ("Slurm", ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")),
    ("Slurm", ("SLURM_JOB_ID",)),
    ("Ray", ("RAY_JOB_ID",)),
    ("PBS", ("PBS_JOBID",)),
    ("LSF", ("LSB_JOBID",)),
)
# What a process is told from a later one of the same number by; clocks are set now and then.
CLOCK_SECONDS = 10.0


def describe() -> dict[str, Any]:
    """The node's name, the scheduler's job if there is one, and what `has_ended` needs to know.

    Slurm has names of its own for nodes, which its commands take.
    """
    process = psutil.Process()
    return {
        "node": os.environ.get("SLURMD_NODENAME") or platform.node(),
        "job": job_of(os.environ),
        "system": this_system(),
        "process": process.pid,
        "process_began": process.create_time(),
    }


def job_of(variables: Mapping[str, str]) -> str | None:
    """The job of a scheduler that a process with these environment variables belongs to."""
    for scheduler, names in JOBS:
        if all(variables.get(name) for name in names):
            return f"{scheduler} job {'_'.join(variables[name] for name in names)}"
    return None


def has_ended(system: str, process: int, began: float) -> bool | None:
    """Whether a process has ended; None if it cannot be seen: of another system, or user.

    `began` is when it did, by the clock.
    """
    if system != this_system():
        return None
    try:
        found = psutil.Process(process)
        is_other = abs(found.create_time() - began) > CLOCK_SECONDS
        return is_other or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return None


@cache
def this_system(root: Path = ROOT) -> str:
    """Equal where a number stands for the same process: in a start of a kernel, per container."""
    try:
        numbers = str((root / "proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        numbers = platform.node()
    started = read(root / "proc/sys/kernel/random/boot_id") or platform.node()
    return hashlib.sha256(f"{started} {numbers}".encode()).hexdigest()[:8]
