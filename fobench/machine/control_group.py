"""How much memory the process's control group allows, as containers and clusters set it. Linux."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Files:
    """Where a version of control groups keeps its groups, and what it calls what."""

    mount: str
    limit: str
    held: str
    idle: str


FIRST = Files(
    "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)
SECOND = Files("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def memory(root: Path = Path("/")) -> tuple[int, int] | None:
    """Bytes allowed and bytes held by the group that leaves least; None if none tells a limit.

    What a group above allows counts too. Pages of files that nobody uses do not count as held, as
    they are given up when memory is asked for. `root` is where the file system begins.
    """
    found = [told for told in (told_by(*group) for group in groups(root)) if told is not None]
    return min(found, key=lambda told: told[0] - told[1], default=None)


def groups(root: Path) -> Iterator[tuple[Path, Files]]:
    """The folders of the process's groups and of those above, which a container may not see."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files = SECOND
        elif "memory" in controllers.split(","):
            files = FIRST
        else:
            continue
        own = PurePosixPath(path)
        for each in (own, *own.parents):
            yield root / files.mount / each.relative_to("/"), files


def told_by(folder: Path, files: Files) -> tuple[int, int] | None:
    """As `memory`, of one group."""
    try:
        # "max" is no limit, and no number either.
        limit, held = (int((folder / name).read_text()) for name in (files.limit, files.held))
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
        return limit, held - int(statistics.get(files.idle, 0))
    except (OSError, ValueError):
        return None
