"""One run carried out: trained from where it is, and its files kept complete after each epoch."""

import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fobench import checkpoint, cost, environment, planning, results
from fobench import device as devices
from fobench.data import Data
from fobench.errors import UserError
from fobench.files import is_there, make_folder, remove
from fobench.lock import run_lock
from fobench.progress import Progress
from fobench.results import Epoch
from fobench.run import Run
from fobench.stopping import Deadline, Stopped
from fobench.store_plan import StorePlan
from fobench.train import DivergedError, Training, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """On what terms runs are trained.

    Checkpoints are saved at epoch ends at least `checkpoint_every` seconds apart, and go when a run
    has ended unless `keep_checkpoints`. With `anew` nothing of an earlier training is used.
    """

    device: torch.device
    deadline: Deadline
    checkpoint_every: float = 0.0
    keep_checkpoints: bool = False
    anew: bool = False


def execute(run: Run, folder: Path, data: Data, terms: Terms) -> None:
    """Train `run` to its end, from its last checkpoint or else from its start.

    It ends "finished", "diverged" or "failed". What is no fault of the run leaves it to be gone on
    with: that another process trains it, or that its checkpoint does not fit, is told; Stopped is
    raised, and UserError where its files cannot be written.
    """
    make_folder(folder)
    with run_lock(folder) as ours:
        if not ours:
            log.error("%s is left out: another process trains it", run.id)
            return
        # Another process may have ended it since the sweep was planned.
        if not terms.anew and results.status(folder) in results.ENDED:
            return
        try:
            saved = None if terms.anew else last_checkpoint(run, folder, terms.device)
        except UserError as error:
            log.error("%s is left as it is: %s", run.id, error)
            return
        plan = None
        try:
            # Before anything is cleared away, as the file of a plan may not be sound.
            plan = store_plan_of(run, folder, data, saved)
        except UserError:
            raise
        except Exception as error:
            end(folder, begin(run, folder, terms, saved), "failed", tell_failure(run, error))
        if plan is None:  # only here, as the error holds what was measured
            devices.release_memory(terms.device)
            return
        record = begin(run, folder, terms, saved) | planning.describe(plan, run)
        try:
            record["epochs_sha256"] = train_and_keep(run, folder, data, terms, record, saved, plan)
        except DivergedError as error:
            log.warning("%s diverged: %s", run.id, error)
            end(folder, record, "diverged", str(error))
        except UserError:
            raise
        except Exception as error:
            end(folder, record, "failed", tell_failure(run, error))
        else:
            end(folder, record, "finished")
        devices.release_memory(terms.device)
        drop_spent_checkpoint(folder, record)


def last_checkpoint(run: Run, folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The run's last checkpoint; None where there is none.

    Raises UserError for one from which this process could not go on exactly.
    """
    saved = checkpoint.read_last(folder)
    if saved is None:
        return None
    mend = f"or train the run anew with --force --only {run.id}"
    if saved["run"] != run.id:
        raise UserError(f"the checkpoint in {folder} is that of {saved['run']}: move it, {mend}")
    before = saved["bits_depend_on"]
    here = environment.bits_depend_on(environment.describe(device))
    other = [
        f"{key} {before.get(key)} (here {value})"
        for key, value in here.items()
        if before.get(key) != value
    ]
    if other:
        raise UserError(
            f"the checkpoint in {folder} was made with {', '.join(other)}, so it would not go on "
            f"exactly: go on as it began, {mend}"
        )
    return saved


def store_plan_of(run: Run, folder: Path, data: Data, saved: dict[str, Any] | None) -> StorePlan:
    """What the run stores: as it began, or else by the plan of its method on this machine."""
    if saved is None:
        return planning.plan_of(run, folder.parent, data.train)
    return StorePlan.from_dict(saved["training"]["activations"]["plan"])


def begin(run: Run, folder: Path, terms: Terms, saved: dict[str, Any] | None) -> dict[str, Any]:
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
        **cost.describe(run),
        "environment": environment.describe(terms.device),
        "started": now(),
        "ended": None,
        "keeps_checkpoint": terms.keep_checkpoints,
    }
    if saved is None:
        clear(folder)
    else:
        record |= resumption(folder, record, len(saved["rows"]))
    remove_strays(folder)
    results.write_record(folder, record)
    return record


def resumption(folder: Path, record: dict[str, Any], epochs: int) -> dict[str, Any]:
    """What the record says of a run that goes on: where it began, when and where it was resumed."""
    before = results.read_record(folder) if is_there(folder / "run.json") else record
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


def train_and_keep(
    run: Run,
    folder: Path,
    data: Data,
    terms: Terms,
    record: dict[str, Any],
    saved: dict[str, Any] | None,
    plan: StorePlan,
) -> str:
    """Train to the end, keeping rows and checkpoint after each epoch; the SHA-256 of the rows."""
    deadline, progress = terms.deadline, Progress()
    deadline.start_lap()
    training = Training(run, data, terms.device, plan)
    rows: list[Epoch] = []
    if saved is not None:
        # Let go of the copy, which would take memory through the whole training.
        training.load_state_dict(saved.pop("training"))
        rows = [Epoch(**row) for row in saved["rows"]]
        if not training.is_done:
            deadline.expect(max(row.train_seconds + row.eval_seconds for row in rows))
    origin = {
        "run": run.id,
        "bits_depend_on": environment.bits_depend_on(record["environment"]),
    }
    if run.method.precompute:
        planning.tell(record["store_plan"])
        record["store"] = training.activations.told()
        results.write_record(folder, record)
    keeper = checkpoint.Keeper(folder, terms.checkpoint_every, len(rows))
    sha256 = results.write_epochs(folder, rows)
    try:
        with progress.of(run, training.epoch):
            for row in train(training, progress):
                rows.append(row)
                if run.method.precompute:
                    record["store"] = training.activations.told()
                sha256 = results.write_epochs(folder, rows)
                deadline.end_lap()
                stops = deadline.is_near and not training.is_done
                if not training.is_done or terms.keep_checkpoints:
                    content = origin | {
                        "rows": [asdict(each) for each in rows],
                        "training": training.state_dict(),
                    }
                    keeper.offer(len(rows), content, now=stops or training.is_done)
                progress.epoch(row)
                if stops:
                    deadline.require_time()
    except Stopped:
        log.info(
            "%s stops in epoch %d of %d: %s, and %.0f s of work since then are let go",
            *(run.id, min(len(rows) + 1, run.epochs), run.epochs),
            f"epoch {keeper.epochs_kept} is kept" if keeper.epochs_kept else "none is kept yet",
            keeper.seconds_since,
        )
        raise
    return sha256


def drop_spent_checkpoint(folder: Path, record: dict[str, Any]) -> None:
    """Remove the checkpoint of a run that has ended, where it was not asked for.

    Not before the record on the disk says so; what a process did not come to remove, the next does.
    """
    if record["status"] in results.ENDED and not record.get("keeps_checkpoint"):
        checkpoint.drop(folder)


def tell_failure(run: Run, error: Exception) -> str:
    """Tell why a run failed, with the traceback unless memory gave out; the reason."""
    reason = f"{type(error).__name__}: {error}"
    if devices.is_out_of_memory(error):
        reason = f"out of memory: lower train.batch_size, or free memory ({reason})"
        log.error("%s failed: %s", run.id, reason)
    else:
        log.error("%s failed", run.id, exc_info=error)
    return reason


def clear(folder: Path) -> None:
    """Remove what an earlier training left; the record first, so that no half counts as a run."""
    remove(folder / "run.json")
    remove(folder / "epochs.csv")
    checkpoint.drop(folder)


def remove_strays(folder: Path) -> None:
    """Remove what a process was writing when it died."""
    for name in ("run.json", "epochs.csv", checkpoint.NEW):
        for stray in folder.glob(f".{name}.*"):
            remove(stray)


def end(folder: Path, record: dict[str, Any], status: str, reason: str | None = None) -> None:
    record |= {"status": status, "reason": reason, "ended": now()}
    results.write_record(folder, record)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
