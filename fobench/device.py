"""The device that trains: which it is, when it is done, how much memory it took."""

import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

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
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # The CPU's allocator has no exception of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Hand back what a run that has ended held on the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
