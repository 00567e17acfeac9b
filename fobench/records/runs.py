"""run.json: what was trained, how and where; and reading a run from its two files.

The files of a finished run have checksums, so that changed numbers are detected.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fobench.errors import UserError
from fobench.records.epochs import RESTORE_RUN, Epoch, read_epochs
from fobench.records.files import exists, read_json, write_json

FORMAT = 1
# A run that diverged would diverge again.
ENDED = ("finished", "diverged")
# Keys that readers of run.json rely on.
REQUIRED = (
    *("status", "id", "baseline", "run", "units", "total_steps", "steps_per_epoch"),
    "environment",
)
REQUIRED_WITHIN = {
    "run": ("data", "data_used", "model", "train", "method", "seed", "repeat"),
    "environment": ("host", "device", "gpu", "processor", "cores", "threads", "versions"),
}


@dataclass(frozen=True)
class RunResult:
    """A run as read from its folder."""

    id: str
    record: dict[str, Any]
    epochs: list[Epoch]

    @property
    def ensemble(self) -> dict[str, Any] | None:
        """The test errors of an ensemble and its members, and its costs; None for one model."""
        return self.record.get("ensemble")

    @property
    def test_error(self) -> float:
        """After training, in percent: of the ensemble of all members, if the run has one.

        Never of fewer members, however well they do: that would be a choice by test error.
        """
        if self.ensemble is None:
            return self.epochs[-1].test_error
        return self.ensemble["last"][-1]["test_error"]

    @property
    def eval_seconds(self) -> float:
        """Of the network after each epoch; of an ensemble and its last member in the end."""
        found = self.ensemble or {}
        ensemble = found.get("eval_seconds", 0.0) + found.get("single_eval_seconds", 0.0)
        return sum(epoch.eval_seconds for epoch in self.epochs) + ensemble

    @property
    def last_member_error(self) -> float:
        """The test error of an ensemble's last member alone; NaN for one model."""
        return math.nan if self.ensemble is None else self.ensemble["last"][0]["test_error"]


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write run.json."""
    whole = {"format": FORMAT, **record}
    write_json(folder / "run.json", whole | {"sha256": record_digest(whole)})


def record_digest(record: dict[str, Any]) -> str:
    """SHA-256 of a record, independent of the file's layout."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """Raises UserError for a run.json that is missing, damaged or of another format."""
    record = read_json(folder / "run.json", RESTORE_RUN)
    # Records of the first version have no checksum.
    sha256 = record.pop("sha256", None)
    if record.get("format") != FORMAT:
        raise UserError(
            f"{folder / 'run.json'} has format {record.get('format')!r}, this version of "
            f"fobench reads {FORMAT}: use the version that wrote it, or move the folder away"
        )
    if sha256 is not None and sha256 != record_digest(record):
        raise UserError(f"{folder / 'run.json'} was changed after it was written: {RESTORE_RUN}")
    missing = [key for key in REQUIRED if key not in record]
    missing += [
        f"{key}.{inner}"
        for key, inners in REQUIRED_WITHIN.items()
        for inner in inners
        if not isinstance(record.get(key), dict) or inner not in record[key]
    ]
    if missing:
        raise UserError(f"{folder / 'run.json'} lacks {', '.join(missing)}: {RESTORE_RUN}")
    return record


def read_run(folder: Path) -> RunResult:
    """A run's record and, if it is finished, its rows.

    Raises UserError if either is missing or invalid.
    """
    record = read_record(folder)
    if record["status"] != "finished":
        return RunResult(folder.name, record, [])
    epochs = read_epochs(folder, record.get("epochs_sha256"))
    require_complete(folder, epochs, record)
    return RunResult(folder.name, record, epochs)


def status_of(folder: Path) -> str | None:
    """A run's status; None without a record. Raises UserError for an invalid run."""
    return read_run(folder).record["status"] if exists(folder / "run.json") else None


def require_complete(folder: Path, epochs: Sequence[Epoch], record: dict[str, Any]) -> None:
    """Raises UserError if a finished run lacks rows or has impossible times."""
    steps, last = record["steps_per_epoch"], record["total_steps"]
    expected = [*range(steps, last, steps), last]
    whole = [epoch.step for epoch in epochs] == expected
    if not whole or not all(0 < epoch.total_train_seconds < math.inf for epoch in epochs):
        raise UserError(
            f"{folder / 'epochs.csv'} does not have the {len(expected)} epochs to step {last}: "
            f"{RESTORE_RUN}"
        )
