"""One run carried out: trained, and its files kept complete after each epoch."""

import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fobench import cost, environment, results
from fobench.data import Data
from fobench.progress import Progress
from fobench.run import Run
from fobench.train import DivergedError, train

log = logging.getLogger(__name__)


def execute(run: Run, folder: Path, data: Data, device: torch.device, progress: Progress) -> None:
    """Train `run` and write its folder anew; it ends "finished" or "diverged".

    Whatever else stops the run is recorded as "failed" with its reason, and raised.
    """
    record = {
        "status": "running",
        "reason": None,
        "resumed": False,
        "id": run.id,
        "baseline": run.its_baseline.id,
        "run": run.as_dict(),
        "total_steps": run.total_steps,
        "steps_per_epoch": run.steps_per_epoch,
        **cost.describe(run),
        "environment": environment.describe(device),
        "started": now(),
        "ended": None,
    }
    clear(folder)
    results.write_record(folder, record)
    rows: list[results.Epoch] = []
    try:
        with progress.of(run):
            for row in train(run, data, device, progress):
                rows.append(row)
                results.write_epochs(folder, rows)
                progress.epoch(row)
    except DivergedError as error:
        log.warning("%s diverged: %s", run.id, error)
        end(folder, record, "diverged", str(error))
    except Exception as error:
        end(folder, record, "failed", f"{type(error).__name__}: {error}")
        raise
    else:
        end(folder, record, "finished")


def clear(folder: Path) -> None:
    """Remove what an earlier training left; the record first, so that no half counts as a run."""
    (folder / "run.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def end(folder: Path, record: dict[str, Any], status: str, reason: str | None = None) -> None:
    record |= {"status": status, "reason": reason, "ended": now()}
    results.write_record(folder, record)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
