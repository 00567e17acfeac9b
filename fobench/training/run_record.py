"""The record of a run, run.json, at its start, when resumed and at its end."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fobench.costs import flops
from fobench.experiment.run import Run
from fobench.records import heartbeat
from fobench.records.files import exists, remove
from fobench.records.runs import ENDED, read_record, write_record
from fobench.training import checkpoint, snapshots

log = logging.getLogger(__name__)

IN_CHECKPOINTS = ("started", "environment", "timed", "resumed", "resumed_at")
RECORDED_WHEN_RESUMED = ("host", "cpu_quota", "cpus_allowed", "images", "commit", "dirty")


def begin(
    run: Run,
    folder: Path,
    here: dict[str, Any],
    keep_checkpoints: bool,
    saved: dict[str, Any] | None,
    timed: bool,
) -> dict[str, Any]:
    """Write and return the record of a run that starts; remove files that cannot be used.

    `here` is the environment, with the place of the images; `timed` says whether it has the
    machine to itself.
    """
    record = {
        "status": "running",
        "reason": None,
        "resumed": False,
        "resumed_at": [],
        "timed": timed,
        "id": run.id,
        "baseline": run.baseline_run.id,
        "control": run.control_run.id if run.control_run else None,
        "uncached": run.uncached_run.id if run.uncached_run else None,
        "run": run.as_dict(),
        "total_steps": run.total_steps,
        "steps_per_epoch": run.steps_per_epoch,
        **flops.describe(run),
        "environment": here,
        "started": now(),
        "ended": None,
        "keeps_checkpoint": keep_checkpoints,
    }
    if saved is None:
        remove_earlier_files(folder)
    else:
        record |= resumption(folder, record, saved)
    remove_temporary_files(folder)
    write_record(folder, record)
    return record


def for_checkpoint(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's record says of how it was trained, to go on from if the record is lost."""
    return {key: record[key] for key in IN_CHECKPOINTS}


def resumption(folder: Path, record: dict[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a resumed run: where it started, when and where it was resumed.

    One whose training was complete, by the rows in the checkpoint, was not trained in pieces: its
    ensemble alone remains to be tested.
    """
    rows = saved["rows"]
    # Checkpoints of earlier versions do not say how the run was trained.
    lost = {"timed": False, "resumed": True}
    before = (
        read_record(folder) if exists(folder / "run.json") else record | saved.get("record", lost)
    )
    environment = record["environment"]
    is_trained = rows[-1]["step"] == record["total_steps"]
    here = {"epochs": len(rows), "when": now()}
    here |= {key: environment[key] for key in RECORDED_WHEN_RESUMED}
    log.info("resuming after epoch %d", len(rows))
    if record["timed"] and not before.get("timed", True):
        log.info("it was trained beside others before, or may have been: its time will not count")
    if before["environment"]["commit"] != environment["commit"]:
        log.warning(
            "it started at commit %s and resumes at %s: exact only if training did not change",
            *(before["environment"]["commit"], environment["commit"]),
        )
    return {
        "started": before["started"],
        "environment": before["environment"],
        "resumed": not is_trained or before.get("resumed", False),
        "resumed_at": [*before.get("resumed_at", []), here],
        # Records of earlier versions lack it: their runs had the machine to themselves.
        "timed": (is_trained or record["timed"]) and before.get("timed", True),
    }


def remove_earlier_files(folder: Path) -> None:
    """Remove the files of an earlier training; the record first, so that the rest is not a run."""
    remove(folder / "run.json")
    remove(folder / "epochs.csv")
    remove(folder / snapshots.FILE)
    checkpoint.drop(folder)


def remove_temporary_files(folder: Path) -> None:
    """Remove files that a process was writing when it died."""
    for name in ("run.json", "epochs.csv", heartbeat.FILE, snapshots.FILE):
        for path in folder.glob(f".{name}.*"):
            remove(path)


def end(folder: Path, record: dict[str, Any], status: str, reason: str | None = None) -> None:
    record |= {"status": status, "reason": reason, "ended": now()}
    write_record(folder, record)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def remove_unneeded_checkpoint(folder: Path, record: dict[str, Any]) -> None:
    """Remove the checkpoint of a run that has ended, unless it is to be kept.

    Call it after the record is on disk. If a process dies before, the next one removes it.
    """
    if record["status"] in ENDED and not record.get("keeps_checkpoint"):
        checkpoint.drop(folder)
