"""Total and free memory of the host, within the limit of a control group. No torch."""

import os

import psutil

from fobench.machine import cgroup


def available_host_memory() -> tuple[int, int]:
    """Free and total bytes; the limit of a control group is taken into account."""
    available, total = host_memory()
    limit, held = cgroup.memory() or (total, 0)
    if limit >= total:
        return available, total
    return min(available, max(0, limit - held)), limit


def total_memory() -> int:
    """Bytes of the host's memory."""
    return host_memory()[1]


def host_memory() -> tuple[int, int]:
    """Free and total bytes, whatever the limit of a control group."""
    try:
        memory = psutil.virtual_memory()
    except OSError:  # without /proc
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    return memory.available, memory.total
