"""Execution of one run: train it from its start or checkpoint, and write its files each epoch."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fobench.activations import plan_file
from fobench.activations.plan import StorePlan
from fobench.costs.profile import KeptProfile
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.split import Data
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.interruption import Deadline, Stopped
from fobench.machine.lock import run_lock
from fobench.machine.memory import release_memory, reset_peak_memory
from fobench.machine.ranks import ALONE, Ranks
from fobench.models.user_file import printing_to_stderr
from fobench.records.epochs import Epoch, write_epochs
from fobench.records.files import make_folder
from fobench.records.runs import ENDED, status_of, write_record
from fobench.training import checkpoint, predictions
from fobench.training.ensemble import evaluate_and_keep
from fobench.training.failure import end_as_failed
from fobench.training.followed import RunToFollow
from fobench.training.heartbeat import heartbeats
from fobench.training.loop import DivergedError, seconds_of_test, train
from fobench.training.peak_memory import log_least_memory, log_peak_memory
from fobench.training.progress import Progress, RunProgress
from fobench.training.run_record import begin, end, for_checkpoint, remove_unneeded_checkpoint
from fobench.training.state import Training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutionOptions:
    """Where and how long runs are trained, and which checkpoints are kept.

    Checkpoints are saved at epoch ends, at least `checkpoint_every` seconds apart, and removed when
    a run ends unless `keep_checkpoints`. With `restart`, earlier checkpoints are not used. Runs are
    `timed` if nothing else is trained on the machine; if several are trained at once, each may take
    `memory_share` bytes of the device's memory; there are `jobs` of them. What they should take is
    predicted from the `profile` of their network. If there are several `ranks`, this is the first.
    """

    device: torch.device
    deadline: Deadline
    checkpoint_every: float = 0.0
    keep_checkpoints: bool = False
    restart: bool = False
    timed: bool = True
    memory_share: int | None = None
    jobs: int = 1
    profile: KeptProfile | None = None
    ranks: Ranks = ALONE


@printing_to_stderr()
def execute(
    run: Run,
    folder: Path,
    data: Data,
    options: ExecutionOptions,
    progress: RunProgress | None = None,
) -> None:
    """Train `run` to its end, from its last checkpoint or else from its start.

    Its progress is shown here, unless `progress` receives it.

    It ends as "finished", "diverged" or "failed". It is left to be resumed later if another process
    trains it or its checkpoint does not fit (an error is logged), if Stopped is raised, or if its
    files cannot be written (UserError).

    Raises DeviceLostError or OutOfStepError if it failed and no other run can be trained in this
    process.
    """
    make_folder(folder)
    with run_lock(folder) as locked:
        if not locked:
            log.error("%s is left out: another process trains it", run.id)
            return
        # Another process may have ended it since the sweep was planned.
        if not options.restart and status_of(folder) in ENDED:
            return
        # Now, as a device may tell nothing about itself once a run has failed.
        here = environment.describe(options.device, run.train) | {"images": data.place}
        try:
            saved = None if options.restart else last_checkpoint(run, folder, here)
        except UserError as error:
            log.error("%s is left as it is: %s", run.id, error)
            return
        plan = None
        try:
            # Before earlier files are removed, as the plan's file may be invalid.
            plan = store_plan_of(run, folder, data, saved, options.profile)
        except UserError:
            raise
        except Exception as error:
            record = begin(run, folder, here, options.keep_checkpoints, saved, options.timed)
            end_as_failed(run, folder, record, error, options.device)
        if plan is None:  # not in the except block: the error keeps the measured tensors alive
            release_memory(options.device)
            return
        record = begin(run, folder, here, options.keep_checkpoints, saved, options.timed)
        record["predictions"]["profile"] = predictions.describe(run, options.profile, plan)
        record |= plan_file.describe(plan, run)
        try:
            with heartbeats(run, folder, progress or Progress()) as shown:
                sha256 = train_and_save(run, folder, data, options, record, saved, plan, shown)
        except DivergedError as error:
            log.warning("%s diverged: %s", run.id, error)
            end(folder, record, "diverged", str(error))
        except UserError:
            raise
        except Exception as error:
            end_as_failed(run, folder, record, error, options.device, options.ranks)
        else:
            record["epochs_sha256"] = sha256
            end(folder, record, "finished")
        release_memory(options.device)
        remove_unneeded_checkpoint(folder, record)


def last_checkpoint(run: Run, folder: Path, here: dict[str, Any]) -> dict[str, Any] | None:
    """The run's last checkpoint; None if there is none. `here` is the environment.

    Raises UserError for one from which this process cannot resume exactly.
    """
    saved = checkpoint.read_last(folder)
    if saved is None:
        return None
    remedy = f"or train the run again with --force --only {run.id}"
    if saved["run"] != run.id:
        raise UserError(f"the checkpoint in {folder} is of {saved['run']}: move it, {remedy}")
    before = {"ranks": 1} | saved["bits_depend_on"]  # older ones are all of one process
    other = [
        f"{key} {before.get(key)} (here {value})"
        for key, value in environment.bits_depend_on(here).items()
        if before.get(key) != value
    ]
    if other:
        threads = " (with its --jobs or --resources)" if "threads" in " ".join(other) else ""
        raise UserError(
            f"the checkpoint in {folder} was made with {', '.join(other)}, so the run cannot "
            f"resume exactly: resume as it started{threads}, {remedy}"
        )
    units = [cost.name for cost in unit_costs_of(run)]
    if saved["training"].get("units", units) != units:  # older checkpoints do not name them
        raise UserError(
            f"the checkpoint in {folder} is of a network that was cut into other units (here "
            f"{len(units)}: {', '.join(units)}): resume with the version of fobench that wrote it, "
            f"{remedy}"
        )
    return saved


def store_plan_of(
    run: Run,
    folder: Path,
    data: Data,
    saved: dict[str, Any] | None,
    profile: KeptProfile | None,
) -> StorePlan:
    """The store plan in the checkpoint, or else the plan of the method on this machine."""
    if saved is None:
        return plan_file.plan_of(run, folder.parent, data.train, profile)
    return StorePlan.from_dict(saved["training"]["activations"]["plan"])


def train_and_save(
    run: Run,
    folder: Path,
    data: Data,
    options: ExecutionOptions,
    record: dict[str, Any],
    saved: dict[str, Any] | None,
    plan: StorePlan,
    progress: RunProgress,
) -> str:
    """Train to the end, writing rows and a checkpoint each epoch. Returns the rows' SHA-256."""
    deadline = options.deadline
    deadline.start_epoch()
    log_least_memory(run, options.device, options.memory_share)
    options.ranks.tell(RunToFollow(run, plan, resumes=saved is not None))
    if saved is not None:
        options.ranks.tell(saved["training"])
    training = Training(run, data, options.device, plan, options.ranks)
    rows: list[Epoch] = []
    if saved is not None:
        # pop: the copy would take memory during the whole training.
        training.load_state_dict(saved.pop("training"))
        rows = [Epoch(**row) for row in saved["rows"]]
        if not training.is_done:
            deadline.expect_test(seconds_of_test(training, rows))
            deadline.expect_epoch(max(row.train_seconds + row.eval_seconds for row in rows))
    # Not before the stores of a resumed run are built: room for them is what the warm-up left.
    reset_peak_memory(options.device)
    origin = {
        "run": run.id,
        "bits_depend_on": environment.bits_depend_on(record["environment"]),
        "record": for_checkpoint(record),
    }
    if run.method.stores.precompute:
        plan_file.log_plan(record["store_plan"], run)
    log_peak_memory(training, options.memory_share)
    if summary := training.summary():
        record |= summary
        write_record(folder, record)
    checkpoints = checkpoint.Writer(folder, options.checkpoint_every, len(rows))
    sha256 = write_epochs(folder, rows)
    try:
        with progress.of(run, training.epoch):
            for row in train(training, progress):
                rows.append(row)
                record |= training.summary()
                sha256 = write_epochs(folder, rows)
                deadline.end_epoch()
                deadline.expect_test(seconds_of_test(training, rows))
                stops = deadline.is_close and not training.is_done
                # An ensemble is still to be tested after the last epoch.
                if not training.is_done or options.keep_checkpoints or training.snapshots:
                    content = origin | {
                        "rows": [asdict(each) for each in rows],
                        "training": training.state_dict(),
                    }
                    checkpoints.save_if_due(len(rows), content, now=stops or training.is_done)
                progress.epoch(row)
                if stops:
                    deadline.require_time()
        if training.snapshots:
            record["ensemble"] = evaluate_and_keep(training, folder)
    except Stopped:
        kept = checkpoints.epochs_saved
        place = f"epoch {min(len(rows) + 1, run.epochs)} of {run.epochs}"
        if training.is_done and training.snapshots:
            place = "the test of its ensemble"
        log.info(
            "%s stops in %s: %s, and %.0f s of work since then are lost",
            *(run.id, place),
            f"epoch {kept} is saved" if kept else "no epoch is saved yet",
            checkpoints.seconds_since,
        )
        raise
    return sha256
