"""A hash that identifies the machine without naming it."""

import hashlib
import os
import platform
from pathlib import Path

ROOT = Path("/")
CONTAINER_FILES = (".dockerenv", "run/.containerenv", ".singularity.d")
CONTAINER_VARIABLES = ("container", "KUBERNETES_SERVICE_HOST")


def host(root: Path = ROOT) -> str:
    """The machine's hash. `root` is the root of the file system.

    It stands for $FOBENCH_HOST, if set: machines made from one image can share all else. Otherwise,
    outside of containers, it stands for the machine's id and its name, as copies of a virtual
    machine share the id. A container's id and name come from its image or are random. There the
    hash stands for the kernel's current start, which all containers of a machine share until it
    restarts. On systems with neither, it stands for the name.
    """
    machine_id = read(root / "etc/machine-id").replace("uninitialized", "")
    boot_id = read(root / "proc/sys/kernel/random/boot_id")
    if named := os.environ.get("FOBENCH_HOST"):
        identity = named
    elif boot_id and (not machine_id or in_container(root)):
        identity = boot_id
    else:
        identity = f"{machine_id} {platform.node()}"
    return hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:8]


def in_container(root: Path) -> bool:
    return any((root / name).exists() for name in CONTAINER_FILES) or any(
        os.environ.get(name) for name in CONTAINER_VARIABLES
    )


def read(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
