"""The record of a run, run.json, from its beginning to its end."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fobench.costs import flops
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.records.files import exists, remove
from fobench.records.runs import ENDED, read_record, write_record
from fobench.training import checkpoint

log = logging.getLogger(__name__)


def begin(
    run: Run,
    folder: Path,
    device: torch.device,
    keep_checkpoints: bool,
    saved: dict[str, Any] | None,
) -> dict[str, Any]:
    """Write and return the record of a run that trains; what cannot be used of it is removed."""
    record = {
        "status": "running",
        "reason": None,
        "resumed": False,
        "resumed_at": [],
        "id": run.id,
        "baseline": run.its_baseline.id,
        "control": run.its_control.id if run.its_control else None,
        "uncached": run.its_uncached.id if run.its_uncached else None,
        "run": run.as_dict(),
        "total_steps": run.total_steps,
        "steps_per_epoch": run.steps_per_epoch,
        **flops.describe(run),
        "environment": environment.describe(device),
        "started": now(),
        "ended": None,
        "keeps_checkpoint": keep_checkpoints,
    }
    if saved is None:
        clear(folder)
    else:
        record |= resumption(folder, record, len(saved["rows"]))
    remove_temporary_files(folder)
    write_record(folder, record)
    return record


def resumption(folder: Path, record: dict[str, Any], epochs: int) -> dict[str, Any]:
    """What the record says of a run that goes on: where it began, when and where it was resumed."""
    before = read_record(folder) if exists(folder / "run.json") else record
    environment = record["environment"]
    here = {"epochs": epochs, "when": now()}
    here |= {key: environment[key] for key in ("host", "commit", "dirty")}
    log.info("going on after epoch %d", epochs)
    if before["environment"]["commit"] != environment["commit"]:
        log.warning(
            "it began at commit %s and goes on at %s: exactly, if training did not change",
            *(before["environment"]["commit"], environment["commit"]),
        )
    return {
        "started": before["started"],
        "environment": before["environment"],
        "resumed": True,
        "resumed_at": [*before.get("resumed_at", []), here],
    }


def clear(folder: Path) -> None:
    """Remove what an earlier training left; the record first, so that no half counts as a run."""
    remove(folder / "run.json")
    remove(folder / "epochs.csv")
    checkpoint.drop(folder)


def remove_temporary_files(folder: Path) -> None:
    """Remove what a process was writing when it died."""
    for name in ("run.json", "epochs.csv", checkpoint.NEW):
        for stray in folder.glob(f".{name}.*"):
            remove(stray)


def end(folder: Path, record: dict[str, Any], status: str, reason: str | None = None) -> None:
    record |= {"status": status, "reason": reason, "ended": now()}
    write_record(folder, record)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def drop_spent_checkpoint(folder: Path, record: dict[str, Any]) -> None:
    """Remove the checkpoint of a run that has ended, where it was not asked for.

    Not before the record on the disk says so; what a process did not come to remove, the next does.
    """
    if record["status"] in ENDED and not record.get("keeps_checkpoint"):
        checkpoint.drop(folder)
