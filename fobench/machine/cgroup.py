"""Limits of the process's control groups, as set by containers and clusters. Linux.

`root` is the root of the file system.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True)
class MemoryFiles:
    """The names of what a version of control groups says of memory."""

    limit: str
    usage: str
    inactive: str


MEMORY_FILES = {
    1: MemoryFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: MemoryFiles("memory.max", "memory.current", "inactive_file"),
}


def memory(root: Path = ROOT) -> tuple[int, int] | None:
    """Limit and usage in bytes of the group with the least memory left; None without a limit.

    The limits of parent groups count too. Inactive file pages do not count as used, as the kernel
    reclaims them on demand.
    """
    found = [group_memory(*group) for group in groups("memory", root)]
    limited = [each for each in found if each is not None]
    return min(limited, key=lambda each: each[0] - each[1], default=None)


def cpu_quota(root: Path = ROOT) -> float | None:
    """The processors' time that the groups allow, in processors; None without a limit.

    The smallest of the group's and its parents'. A quota of 1.5 allows 1.5 seconds per second.
    """
    found = [group_cpu_quota(*group) for group in groups("cpu", root)]
    return min((each for each in found if each is not None), default=None)


def groups(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of the process's groups and their parents, and the version of each.

    In a container some do not exist.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            mount, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        own = PurePosixPath(path)
        for each in (own, *own.parents):
            yield mount / each.relative_to("/"), version


def group_memory(folder: Path, version: int) -> tuple[int, int] | None:
    """Like `memory`, of one group."""
    files = MEMORY_FILES[version]
    try:
        # "max" means no limit; int() raises ValueError.
        limit, usage = (int((folder / name).read_text()) for name in (files.limit, files.usage))
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
        return limit, usage - int(statistics.get(files.inactive, 0))
    except (OSError, ValueError):
        return None


def group_cpu_quota(folder: Path, version: int) -> float | None:
    """Like `cpu_quota`, of one group."""
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        # Microseconds of processor time in each period; "max", or -1 in version 1, if unlimited.
        quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
