"""The number of threads: no more than the processors that the process may use."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fobench.machine import cgroup
from fobench.machine.processors import cpus_allowed

log = logging.getLogger(__name__)


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
