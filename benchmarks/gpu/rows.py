"""Tables as CSV files, a row flushed at a time, so that what was measured outlives a crash."""

import argparse
import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StepRow:
    """The time of a training step, with the first `frozen` units of the network frozen.

    The values that it starts from are the input of unit `start`: pixels if it is 0, a stored
    activation if it is `frozen`. `milliseconds` is the median of the means of `groups` groups of
    steps, `low` and `high` are the least and the greatest of these means.

    `series` says which measurement it is: "depths", with "start", "middle" and "end" where nothing
    is frozen; "variant"; "plain" and "fused".

    `setup_seconds` are those of making the training: its warm-up chooses algorithms and compiles.
    `first_seconds` are those of the first step, which runs operation by operation, and
    `capture_seconds` those of capturing the second. Empty: not done for this row.
    """

    device: str
    torch: str
    network: str
    units: int
    frozen: int
    start: int
    batch: int
    precision: str
    layout: str
    mode: str
    series: str
    groups: int
    steps: int
    milliseconds: float
    low: float
    high: float
    setup_seconds: float | None
    first_seconds: float | None
    capture_seconds: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class LoopRow:
    """Images per second of a training loop: the median of `epochs` epochs, the least, the most."""

    device: str
    torch: str
    network: str
    loop: str
    mode: str
    batch: int
    images: int
    workers: int
    epochs: int
    images_per_second: float
    low: float
    high: float


class Table:
    """A CSV file with a column for each field of a kind of row."""

    def __init__(self, path: Path, kind: type) -> None:
        self.path, self._names = path, [field.name for field in fields(kind)]

    def add(self, row: Any) -> None:
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self._names, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow({name: rounded(value) for name, value in asdict(row).items()})
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[dict[str, str]]:
        """What was written before; none without a file."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))


def parser_of(about: str, choices: Iterable[str] = ()) -> argparse.ArgumentParser:
    """For a script: the device, the folder of its tables, and what to measure if it has choices."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if choices:
        parser.add_argument("what", choices=list(choices))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", action="append", default=[], metavar="MEASUREMENT")
    return parser


def rounded(value: Any) -> Any:
    """Numbers to six digits; nothing for None."""
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
