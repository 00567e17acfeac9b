"""The machine, the versions and the commit that a run was made with."""

import hashlib
import logging
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import fobench
from fobench.machine import gpu
from fobench.machine.cgroup import cpu_quota
from fobench.machine.device import Settings, step_mode
from fobench.machine.host import host, read
from fobench.machine.host_memory import total_memory
from fobench.machine.processors import cpus_allowed
from fobench.machine.ranks import current

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DefaultSettings:
    """The settings of a run that sets none."""

    precision: str = "float32"
    step: str = "auto"
    deterministic: bool = False


DEFAULTS = DefaultSettings()
PACKAGES = ("torch", "torchvision", "numpy")
CPUINFO = Path("/proc/cpuinfo")


def describe(device: torch.device, settings: Settings = DEFAULTS) -> dict[str, Any]:
    """The environment as written to run.json, for a run with these settings.

    Of several ranks, that of this one, but with the hosts of all.
    """
    ranks = current()
    return {
        "host": "+".join(sorted(set(ranks.hosts))) or host(),
        "device": device.type,
        "processor": processor(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "cpu_quota": cpu_quota(),
        "cpus_allowed": cpus_allowed(),
        "threads": torch.get_num_threads(),
        "ranks": ranks.count,
        **gpu.describe(device),
        "precision": settings.precision,
        "step": step_mode(device, settings),
        "memory_bytes": total_memory(),
        "system": platform.system(),
        "python": platform.python_version(),
        **gpu.describe_libraries(device),
        "cudnn_benchmark": not settings.deterministic if device.type == "cuda" else None,
        "versions": {"fobench": fobench.__version__} | {name: version(name) for name in PACKAGES},
        **commit(),
    }


def bits_depend_on(environment: dict[str, Any]) -> dict[str, Any]:
    """The part of an environment that must be equal for a run to repeat bit for bit."""
    keys = (
        *("device", "gpu", "gpu_uuid", "driver", "cuda", "cudnn", "cudnn_benchmark"),
        *("precision", "step", "processor", "instructions", "threads"),
    )
    known = {key: environment.get(key) for key in keys}
    # Environments of earlier versions, all of one process, do not say so.
    return known | {
        "ranks": environment.get("ranks", 1),
        "torch": environment["versions"]["torch"],
    }


def kind_of_machine(environment: dict[str, Any]) -> dict[str, Any]:
    """The part that measured seconds are kept for, as equal cards take equal time."""
    known = bits_depend_on(environment) | {"host": environment["host"]}
    # What earlier versions kept, all of it of one process, stays valid.
    others = ("gpu_uuid", "driver", *(["ranks"] if known["ranks"] == 1 else []))
    return {key: known[key] for key in known if key not in others}


def processor() -> str:
    """The processor's name from /proc/cpuinfo, else from Python."""
    for line in read(CPUINFO).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def instructions() -> str:
    """The instruction set that torch chooses kernels for, and a hash of the processor's features.

    Processors of one name can differ, between generations or in virtual machines.
    """
    kinds = ("vendor_id", "cpu family", "model\t", "flags", "CPU part", "Features")
    first, _, _ = read(CPUINFO).partition("\n\n")
    features = "".join(line for line in first.splitlines() if line.startswith(kinds))
    digest = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{torch.backends.cpu.get_cpu_capability()} {digest}"


def commit() -> dict[str, Any]:
    """The commit of this checkout and whether its code has changes; None if unknown.

    Where git does not know the package, as in a copy without `.git`, $FOBENCH_COMMIT says it.
    """
    package = Path(fobench.__file__).resolve().parent
    checkout = next((each for each in package.parents if (each / ".git").exists()), None)
    try:
        if checkout is None:
            raise FileNotFoundError(package)
        # Fails if the package is installed inside some other repository.
        git(checkout, package, "ls-files", "--error-unmatch", "__init__.py")
        revision = git(checkout, package, "rev-parse", "HEAD")
        # Results are written while a sweep runs; only changed code makes a run irreproducible.
        changes = git(checkout, package, "status", "--porcelain", "--", ".")
        return {"commit": revision, "dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return commit_given()


def commit_given() -> dict[str, Any]:
    """The commit in $FOBENCH_COMMIT, which ends in "-dirty" if the code has changes."""
    given = os.environ.get("FOBENCH_COMMIT", "").strip()
    revision = given.removesuffix("-dirty")
    if not revision:
        return {"commit": None, "dirty": None}
    return {"commit": revision, "dirty": revision != given}


def git(checkout: Path, folder: Path, *arguments: str) -> str:
    """What git prints in a folder of a checkout, whoever owns it and whatever GIT_* is set."""
    # Git refuses to search for the repository in other users' folders, but not one that is given.
    given = (f"--git-dir={checkout / '.git'}", f"--work-tree={checkout}")
    ran = subprocess.run(
        ["git", "--no-optional-locks", *given, "-c", "core.fsmonitor=false", *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=10,
    )
    return ran.stdout.strip()


def log_machine(machine: dict[str, Any]) -> None:
    """Log what `describe` found, in a line."""
    several = f"{machine['ranks']} processes, each with " if machine["ranks"] > 1 else ""
    log.info(
        "%s%s, threads: %d, torch %s",
        *(several, machine["gpu"] or machine["processor"], machine["threads"]),
        machine["versions"]["torch"],
    )
