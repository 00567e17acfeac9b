"""The processors that the process may use. No torch."""

import math
import os

from fobench.machine import cgroup

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


def usable_cpus() -> int:
    """The number of processors that affinity and the control group's quota leave the process."""
    quota = cgroup.cpu_quota()
    most = math.inf if quota is None else max(1, math.floor(quota))
    return int(min(most, cpus_allowed() or math.inf, os.cpu_count() or 1))
