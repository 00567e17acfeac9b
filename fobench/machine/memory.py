"""Free and peak memory of the device and of the host."""

import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from fobench.machine.host_memory import available_host_memory


def available_memory(device: torch.device) -> tuple[int, int]:
    """Free and total bytes of the device's memory, or of the host's for the CPU.

    The limit of a control group is taken into account.
    """
    if device.type == "cuda":
        # What torch keeps for later is free if it lets go of it, which it does not for CUDA graphs.
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(device)
        # What was in use at the peak will be needed again.
        peak, now = torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)
        return max(0, free - (peak - now)), total
    return available_host_memory()


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.init()  # it can be the first call of this process
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        # Not allowed in some containers: there, the peak is that of the whole process.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Peak bytes of the device, or of the process for the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # psutil has no peak that can be reset. Linux does, except in some containers.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def memory_in_use(device: torch.device) -> int:
    """Bytes of the device's memory that this process has, or of the host's for the CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    return psutil.Process().memory_info().rss


def memory_in_reach(device: torch.device) -> int:
    """Bytes that this process has or can get of the device's memory, or of the host's for the CPU.

    For the CPU, call it after `reset_peak_memory`: the peak is then what the process has.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return available_host_memory()[0] + peak_memory(device)


def is_memory(folder: Path) -> bool:
    """Whether a folder is in memory (tmpfs), as far as the system reports."""
    try:
        kinds = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    except OSError:  # without /proc
        return False
    folder = folder.resolve()
    kind = next((kinds[each] for each in (folder, *folder.parents) if each in kinds), None)
    return kind in ("tmpfs", "ramfs")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # The allocators of CPU memory and of pinned memory raise plain RuntimeErrors.
    message = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in message or "out of memory" in message
    )


def release_memory(device: torch.device) -> None:
    """Release the device memory that a finished run used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
