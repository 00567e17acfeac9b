"""The memory limit of the process's control group, as set by containers and clusters. Linux."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class GroupFiles:
    """Mount point and file names of a version of control groups."""

    mount: str
    limit: str
    usage: str
    inactive: str


V1 = GroupFiles(
    "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)
V2 = GroupFiles("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def memory(root: Path = Path("/")) -> tuple[int, int] | None:
    """Limit and usage in bytes of the group with the least memory left; None without a limit.

    The limits of parent groups count too. Inactive file pages do not count as used, as the kernel
    reclaims them on demand. `root` is the root of the file system.
    """
    found = [each for each in (group_memory(*group) for group in groups(root)) if each is not None]
    return min(found, key=lambda each: each[0] - each[1], default=None)


def groups(root: Path) -> Iterator[tuple[Path, GroupFiles]]:
    """The folders of the process's groups and their parents; in a container some do not exist."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files = V2
        elif "memory" in controllers.split(","):
            files = V1
        else:
            continue
        own = PurePosixPath(path)
        for each in (own, *own.parents):
            yield root / files.mount / each.relative_to("/"), files


def group_memory(folder: Path, files: GroupFiles) -> tuple[int, int] | None:
    """Like `memory`, of one group."""
    try:
        # "max" means no limit; int() raises ValueError.
        limit, usage = (int((folder / name).read_text()) for name in (files.limit, files.usage))
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
        return limit, usage - int(statistics.get(files.inactive, 0))
    except (OSError, ValueError):
        return None
