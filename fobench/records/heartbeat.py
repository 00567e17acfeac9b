"""heartbeat.json: that a run is being trained, where, and how far it is.

It is in a run's folder while a process trains it, and stays there if that is killed. So its reader
asks whether the process is still there, or else when it was last heard of.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from fobench.errors import UserError
from fobench.records.files import exists, json_bytes, read_json, remove, replace_bytes

FILE = "heartbeat.json"


@dataclass(frozen=True)
class Heartbeat:
    """What a process last said of its run.

    Attributes:
        node, job: the name of its node, and of the scheduler's job that it belongs to, if any.
        system, process, process_began: as `fobench.machine.process` tells processes apart.
        when: by the node's clock.
        epoch: the one it is in, from 1.
        images, of_images: trained on so far, and in the whole run, each as often as it is.
        images_per_second: since the process began the run, with evaluation and all else; None at
            first.
    """

    node: str
    job: str | None
    system: str
    process: int
    process_began: float
    when: datetime
    epoch: int
    images: int
    of_images: int
    images_per_second: float | None

    def seconds_old(self) -> float:
        """Clocks of nodes can differ a little."""
        return max(0.0, (datetime.now(UTC) - self.when).total_seconds())


def write_heartbeat(folder: Path, beat: Heartbeat) -> None:
    """Replace a run's heartbeat. Raises UserError if that fails.

    It is not flushed to disk, as it need not outlive the system.
    """
    content = asdict(beat) | {"when": beat.when.isoformat(timespec="seconds")}
    replace_bytes(folder / FILE, json_bytes(content))


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """A run's heartbeat; None if there is none, or one that this version does not write."""
    if not exists(folder / FILE):
        return None
    try:
        content = read_json(folder / FILE)
        when = datetime.fromisoformat(content.pop("when")).astimezone(UTC)
        return TypeAdapter(Heartbeat).validate_python(content | {"when": when})
    except (UserError, TypeError, KeyError, ValueError):
        # It may just have been removed. The record tells what matters.
        return None


def remove_heartbeat(folder: Path) -> None:
    """Raises UserError if that fails."""
    remove(folder / FILE)
