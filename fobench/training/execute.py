"""One run carried out: trained from where it is, and its files kept complete after each epoch."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fobench.activations import plan_file
from fobench.activations.plan import StorePlan
from fobench.data.split import Data
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.lock import run_lock
from fobench.machine.memory import is_out_of_memory, release_memory
from fobench.machine.stopping import Deadline, Stopped
from fobench.records.epochs import Epoch, write_epochs
from fobench.records.files import make_folder
from fobench.records.runs import ENDED, status_of, write_record
from fobench.training import checkpoint
from fobench.training.loop import DivergedError, train
from fobench.training.progress import Progress
from fobench.training.record import begin, drop_spent_checkpoint, end
from fobench.training.state import Training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutionOptions:
    """Where and how long runs are trained, and which checkpoints are kept.

    Checkpoints are saved at epoch ends at least `checkpoint_every` seconds apart, and go when a run
    has ended unless `keep_checkpoints`. With `restart` nothing of an earlier training is used.
    """

    device: torch.device
    deadline: Deadline
    checkpoint_every: float = 0.0
    keep_checkpoints: bool = False
    restart: bool = False


def execute(run: Run, folder: Path, data: Data, options: ExecutionOptions) -> None:
    """Train `run` to its end, from its last checkpoint or else from its start.

    It ends "finished", "diverged" or "failed". It is left as it is, to go on later, where another
    process trains it or its checkpoint does not fit (an error is logged), and where Stopped is
    raised, or UserError because its files cannot be written.
    """
    make_folder(folder)
    with run_lock(folder) as ours:
        if not ours:
            log.error("%s is left out: another process trains it", run.id)
            return
        # Another process may have ended it since the sweep was planned.
        if not options.restart and status_of(folder) in ENDED:
            return
        try:
            saved = None if options.restart else last_checkpoint(run, folder, options.device)
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
            record = begin(run, folder, options.device, options.keep_checkpoints, saved)
            end(folder, record, "failed", log_failure(run, error))
        if plan is None:  # only here, as the error holds what was measured
            release_memory(options.device)
            return
        record = begin(run, folder, options.device, options.keep_checkpoints, saved)
        record |= plan_file.describe(plan, run)
        try:
            sha256 = train_and_keep(run, folder, data, options, record, saved, plan)
        except DivergedError as error:
            log.warning("%s diverged: %s", run.id, error)
            end(folder, record, "diverged", str(error))
        except UserError:
            raise
        except Exception as error:
            end(folder, record, "failed", log_failure(run, error))
        else:
            record["epochs_sha256"] = sha256
            end(folder, record, "finished")
        release_memory(options.device)
        drop_spent_checkpoint(folder, record)


def last_checkpoint(run: Run, folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The run's last checkpoint; None where there is none.

    Raises UserError for one from which this process could not go on exactly.
    """
    saved = checkpoint.read_last(folder)
    if saved is None:
        return None
    remedy = f"or train the run again with --force --only {run.id}"
    if saved["run"] != run.id:
        raise UserError(f"the checkpoint in {folder} is that of {saved['run']}: move it, {remedy}")
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
            f"exactly: go on as it began, {remedy}"
        )
    return saved


def store_plan_of(run: Run, folder: Path, data: Data, saved: dict[str, Any] | None) -> StorePlan:
    """What the run stores: as it began, or else by the plan of its method on this machine."""
    if saved is None:
        return plan_file.plan_of(run, folder.parent, data.train)
    return StorePlan.from_dict(saved["training"]["activations"]["plan"])


def train_and_keep(
    run: Run,
    folder: Path,
    data: Data,
    options: ExecutionOptions,
    record: dict[str, Any],
    saved: dict[str, Any] | None,
    plan: StorePlan,
) -> str:
    """Train to the end, keeping rows and checkpoint after each epoch; the SHA-256 of the rows."""
    deadline, progress = options.deadline, Progress()
    deadline.start_lap()
    training = Training(run, data, options.device, plan)
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
    precompute = run.method.stores.precompute
    if precompute:
        plan_file.log_plan(record["store_plan"])
        record["store"] = training.activations.summary()
        write_record(folder, record)
    checkpoints = checkpoint.Writer(folder, options.checkpoint_every, len(rows))
    sha256 = write_epochs(folder, rows)
    try:
        with progress.of(run, training.epoch):
            for row in train(training, progress):
                rows.append(row)
                if precompute:
                    record["store"] = training.activations.summary()
                sha256 = write_epochs(folder, rows)
                deadline.end_lap()
                stops = deadline.is_near and not training.is_done
                if not training.is_done or options.keep_checkpoints:
                    content = origin | {
                        "rows": [asdict(each) for each in rows],
                        "training": training.state_dict(),
                    }
                    checkpoints.save_if_due(len(rows), content, now=stops or training.is_done)
                progress.epoch(row)
                if stops:
                    deadline.require_time()
    except Stopped:
        kept = checkpoints.epochs_saved
        log.info(
            "%s stops in epoch %d of %d: %s, and %.0f s of work since then are lost",
            *(run.id, min(len(rows) + 1, run.epochs), run.epochs),
            f"epoch {kept} is kept" if kept else "none is kept yet",
            checkpoints.seconds_since,
        )
        raise
    return sha256


def log_failure(run: Run, error: Exception) -> str:
    """Log why a run failed, with the traceback unless memory gave out; return the reason."""
    reason = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        reason = f"out of memory: lower train.batch_size, or free memory ({reason})"
        log.error("%s failed: %s", run.id, reason)
    else:
        log.error("%s failed", run.id, exc_info=error)
    return reason
