"""Which GPU, and with which driver and libraries."""

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from fobench.machine.host import read

DRIVER, KERNEL_MODULE = Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version")


def describe(device: torch.device) -> dict[str, Any]:
    """The GPU: its name, and a hash that tells cards of one name apart; None for the CPU."""
    if device.type != "cuda":
        return {"gpu": None, "gpu_uuid": None}
    properties = torch.cuda.get_device_properties(device)
    uuid = getattr(properties, "uuid", None)  # not on all platforms
    digest = hashlib.sha256(str(uuid).encode()).hexdigest()[:8] if uuid else None
    return {"gpu": properties.name, "gpu_uuid": digest}


def describe_libraries(device: torch.device) -> dict[str, Any]:
    """The versions of the driver, CUDA and cuDNN; None for the CPU."""
    if device.type != "cuda":
        return {"driver": None, "cuda": None, "cudnn": None}
    return {
        "driver": driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def driver() -> str | None:
    """The driver's version, as the kernel or nvidia-smi tells it; None if neither does."""
    if version := read(DRIVER):
        return version
    if found := re.search(r"\b\d+\.\d+(\.\d+)?\b", read(KERNEL_MODULE)):
        return found[0]
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.partition("\n")[0].strip() or None
