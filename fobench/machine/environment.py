"""The machine, the versions and the commit that a run was made with."""

import hashlib
import logging
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import fobench

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "numpy")


def describe(device: torch.device) -> dict[str, Any]:
    """The environment as written to run.json."""
    return {
        "host": host(),
        "device": device.type,
        "processor": processor(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "versions": {"fobench": fobench.__version__} | {name: version(name) for name in PACKAGES},
        **commit(),
    }


def bits_depend_on(environment: dict[str, Any]) -> dict[str, Any]:
    """The part of an environment that must be equal for a run to repeat bit for bit."""
    keys = ("device", "gpu", "cuda", "cudnn", "processor", "instructions", "threads")
    return {key: environment.get(key) for key in keys} | {"torch": environment["versions"]["torch"]}


def host() -> str:
    """A hash that identifies the machine without naming it."""
    try:
        identity = Path("/etc/machine-id").read_text().strip()
    except OSError:
        identity = ""
    return hashlib.sha256((identity or platform.node()).encode()).hexdigest()[:8]


def processor() -> str:
    """The processor's name from /proc/cpuinfo, else from Python."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def instructions() -> str:
    """The instruction set that torch chooses kernels for, and a hash of the processor's features.

    Processors of one name can differ, between generations or in virtual machines.
    """
    kinds = ("vendor_id", "cpu family", "model\t", "flags", "CPU part", "Features")
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        first = platform.machine()
    features = "".join(line for line in first.splitlines() if line.startswith(kinds))
    digest = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{torch.backends.cpu.get_cpu_capability()} {digest}"


def commit() -> dict[str, Any]:
    """The commit of this checkout and whether its code has changes; None if installed."""
    package = Path(fobench.__file__).parent
    try:
        # Fails if the package is installed inside some other repository.
        git(package, "ls-files", "--error-unmatch", "__init__.py")
        revision = git(package, "rev-parse", "HEAD")
        # Results are written while a sweep runs; only changed code makes a run irreproducible.
        return {"commit": revision, "dirty": bool(git(package, "status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def git(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return ran.stdout.strip()


def log_machine(device: torch.device) -> None:
    machine = describe(device)
    log.info(
        "%s, %d threads, torch %s",
        *(machine["gpu"] or machine["processor"], machine["threads"], machine["versions"]["torch"]),
    )
