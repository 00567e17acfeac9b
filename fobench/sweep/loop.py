"""The runs of a sweep trained, one after another."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.stopping import Deadline
from fobench.records.experiments import runs_listed, runs_of_others, write_experiment
from fobench.records.files import exists, make_folder
from fobench.records.runs import read_record, read_run
from fobench.sweep.plan import Plan

if TYPE_CHECKING:
    from fobench.sweep.pace import Pace

log = logging.getLogger(__name__)


def train_all(
    plans: Sequence[Plan],
    device_name: str,
    deadline: Deadline,
    force: bool = False,
    keep_checkpoints: bool = False,
    sharded: bool = False,
) -> bool:
    """Train what is chosen and has not ended, one run after another; whether all finished.

    With `force`, runs that have ended are trained again, and none goes on from a checkpoint. With
    `sharded` other processes train the rest of the same runs.

    Raises Stopped where the deadline comes first.
    """
    # Torch is needed only to train.
    from fobench.data.split import load
    from fobench.machine import device, environment
    from fobench.sweep.pace import Pace, format_duration
    from fobench.training.execute import ExecutionOptions, execute
    from fobench.training.record import drop_spent_checkpoint

    for plan in plans:
        require_one_list(plan, sharded)
    options = ExecutionOptions(
        device.select(device_name), deadline, keep_checkpoints=keep_checkpoints, restart=force
    )
    pace = Pace()
    for plan in plans:
        make_folder(plan.folder)
    environment.log_machine(options.device)
    # All records are read before any run is trained, so that a damaged one is found at once.
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        for folder in filter(exists, map(plan.folder_of, plan.chosen)):
            make_folder(folder)
        for run in set(plan.chosen) - set(due):
            folder = plan.folder_of(run)
            drop_spent_checkpoint(folder, read_record(folder))
            record_pace(pace, run, folder)
        announce(plan, due)
    for plan, due in zip(plans, due_of, strict=True):
        write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
        if not due:
            continue
        used, experiment = plan.runs[0].data_used, plan.experiment
        loaded = load(plan.dataset, used, experiment.data.augment, options.device)
        for number, run in enumerate(due):
            deadline.require_time()
            left = pace.seconds_for([*due[number:], *later(plan, plans, due_of)])
            note = "" if left is None else f", about {format_duration(left)} left"
            log.info("%s %d/%d %s%s", experiment.name, number + 1, len(due), run.id, note)
            here = replace(options, checkpoint_every=experiment.checkpoint_every)
            execute(run, plan.folder_of(run), loaded, here)
            record_pace(pace, run, plan.folder_of(run))
    return log_unfinished(plans) == 0


def require_one_list(plan: Plan, sharded: bool) -> None:
    """Raises UserError if other shares of the sweep are of another config or data set."""
    listed = runs_listed(plan.folder) if sharded else []
    if listed and set(listed) != {run.id for run in plan.runs}:
        raise UserError(
            f"{plan.folder / 'experiment.json'} lists other runs than this share's sweep: give all "
            "shares the same config and data set, or delete it"
        )


def later(plan: Plan, plans: Sequence[Plan], due_of: Sequence[list[Run]]) -> list[Run]:
    """The runs that are due in the plans after this one."""
    return [run for due in due_of[plans.index(plan) + 1 :] for run in due]


def record_pace(pace: "Pace", run: Run, folder: Path) -> None:
    """Learn from a run that is finished how fast the sweep goes."""
    # Another process may be at it, and have written nothing yet.
    if not exists(folder / "run.json"):
        return
    read = read_run(folder)
    if read.record["status"] == "finished":
        evaluating = sum(epoch.eval_seconds for epoch in read.epochs)
        pace.done(run, read.epochs[-1].total_train_seconds + evaluating)


def log_unfinished(plans: Sequence[Plan]) -> int:
    """Name the chosen runs that are not finished and say how many there are."""
    unfinished = [
        (plan.folder_of(run), is_at)
        for plan in plans
        for run, is_at in plan.statuses().items()
        if is_at != "finished"
    ]
    for folder, is_at in unfinished:
        log.warning("not finished: %s (%s%s)", folder, is_at, reason_of(folder))
    return len(unfinished)


def reason_of(folder: Path) -> str:
    reason = read_record(folder)["reason"] if exists(folder / "run.json") else None
    return f": {reason}" if reason else ""


def announce(plan: Plan, due: Sequence[Run]) -> None:
    """Say what will be done, and what the user may not expect."""
    log.info("%s: %d of %d runs to do", plan.title, len(due), len(plan.chosen))
    name = plan.experiment.name
    if plan.missing(lambda run: run.its_baseline):
        log.warning("%s has no baseline of the whole epochs: without one, no time saved", name)
    if plan.missing(lambda run: run.its_uncached):
        log.warning("%s lacks the control of its stores: the same with precompute = false", name)
    controls = plan.missing(lambda run: run.its_control).values()
    for label in dict.fromkeys(run.method.label() for run in controls):
        log.warning("%s lacks a control of one of its methods: %s", name, label)
    for run in plan.chosen:
        if run not in due and plan.status_of(run) == "diverged":
            log.warning("%s diverged; --force trains it anew", run.id)
    others = runs_of_others(plan.folder, {run.id for run in plan.runs})
    if others:
        log.warning(
            "%d runs of an earlier config or data set stay in %s, but no longer belong to the "
            "experiment; to keep both, set another experiment.name",
            *(len(others), plan.folder),
        )
