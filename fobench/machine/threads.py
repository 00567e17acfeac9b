"""The number of threads: no more than the processors that the process may use."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fobench.machine import cgroup

log = logging.getLogger(__name__)

# With one of these, OpenMP pins the main thread to its own processors once torch is imported.
PINNING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")


def cpus_allowed() -> int | None:
    """The number of processors that the process may run on, as set by taskset or a cluster.

    None where it is unknown: on systems without affinity, and where OpenMP pins threads.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    pins = any(os.environ.get(name, "").lower() not in ("", "false") for name in PINNING)
    if affinity is None or pins:
        return None
    return len(affinity(0))


def limit_threads() -> None:
    """Lower torch's number of threads to what affinity and the control group's quota allow.

    More threads would take turns on the processors, or be stopped together in each period of the
    quota. Call it before training, as results depend on the number of threads.
    """
    quota, allowed = cgroup.cpu_quota(), cpus_allowed()
    limits = {
        "the control group's CPU quota": math.inf if quota is None else max(1, math.floor(quota)),
        "the CPU affinity": allowed or math.inf,
    }
    cause, most = min(limits.items(), key=lambda each: each[1])
    threads = torch.get_num_threads()
    if threads > most:
        torch.set_num_threads(int(most))
        log.info("threads: %d instead of %d, as %s allows no more", most, threads, cause)


@contextmanager
def number_of_threads(threads: int) -> Iterator[None]:
    """Set torch's number of threads for the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
