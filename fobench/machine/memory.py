"""How much memory there is, is free, and was used at the peak."""

import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from fobench.machine import control_group


def available_memory(device: torch.device) -> tuple[int, int]:
    """Free bytes and all bytes of the device's memory, or on the CPU of the host's.

    Where a control group limits the process, what it leaves.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # What was needed at the peak will be needed again.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device)
        return free + max(0, unused), total
    host = psutil.virtual_memory()
    limit, held = control_group.memory() or (host.total, 0)
    if limit >= host.total:
        return host.available, host.total
    return min(host.available, max(0, limit - held)), limit


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        # Not allowed in some containers: the peak then is that of the process so far.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: the device's, or on the CPU the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # psutil knows no peak that can be reset. Linux has one, though not in each container.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def is_memory(folder: Path) -> bool:
    """Whether a folder lies in memory, as far as the system says."""
    kinds = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    folder = folder.resolve()
    kind = next((kinds[each] for each in (folder, *folder.parents) if each in kinds), None)
    return kind in ("tmpfs", "ramfs")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # The allocators of the CPU's and of pinned memory have no exceptions of their own.
    message = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in message or "out of memory" in message
    )


def release_memory(device: torch.device) -> None:
    """Hand back what a run that has ended held on the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
