"""The device that trains: which it is, when it is done, how much memory it took."""

import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from fobench import control_group
from fobench.errors import UserError


def choose(name: str) -> torch.device:
    """The device of that name; "auto" takes the GPU where there is one.

    Raises UserError for a GPU that is not there.
    """
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise UserError("--device cuda: torch finds no CUDA device here; give --device cpu or auto")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def set_determinism(deterministic: bool) -> None:
    """Whether a CUDA run shall repeat bit for bit, at the price of speed; a CPU run always does."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def ahead(indices: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Indices on the CPU, from where the device takes them without waiting."""
    return indices.pin_memory() if device.type == "cuda" else indices


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
    with suppress(OSError):  # only Linux has it, and not in each container
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def available_memory(device: torch.device) -> tuple[int, int]:
    """Free bytes and all bytes of the device's memory, or on the CPU of the host's.

    Where a control group limits the process, what it leaves.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # What was needed at the peak will be needed again.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device)
        return free + max(0, unused), total
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = free_memory(total)
    limit, held = control_group.memory() or (total, 0)
    if limit >= total:
        return free, total
    return min(free, max(0, limit - held)), limit


def free_memory(total: int) -> int:
    """Free bytes of the host's memory, as Linux tells; else half of all is taken to be free."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return total // 2


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # The allocators of the CPU's and of pinned memory have no exceptions of their own.
    told = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in told or "out of memory" in told
    )


def release_memory(device: torch.device) -> None:
    """Hand back what a run that has ended held on the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
