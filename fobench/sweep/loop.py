"""Train the runs of a sweep, one after another."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.interruption import Deadline
from fobench.records.experiments import listed_runs, unlisted_runs, write_experiment
from fobench.records.files import exists, make_folder
from fobench.records.runs import read_record, read_run
from fobench.sweep.plan import Plan

if TYPE_CHECKING:
    import torch

    from fobench.sweep.time_left import Pace

log = logging.getLogger(__name__)

# Entries of an environment that can differ where the same command is given again.
MACHINE = ("host", "gpu_uuid", "driver")


def train_all(
    plans: Sequence[Plan],
    device_name: str,
    deadline: Deadline,
    force: bool = False,
    keep_checkpoints: bool = False,
    sharded: bool = False,
) -> bool:
    """Train the chosen runs that have not ended. Returns whether all are finished.

    With `force`, runs that have ended are trained again, and none resumes from a checkpoint. With
    `sharded`, other processes train the rest of the same runs.

    Raises Stopped if the deadline comes first, and UserError if the device stops working.
    """
    # Torch is needed only for training.
    from fobench.data.split import load
    from fobench.machine import environment, threads
    from fobench.sweep.time_left import Pace, format_duration
    from fobench.training.execute import DeviceLostError, ExecutionOptions, execute
    from fobench.training.run_record import remove_unneeded_checkpoint

    for plan in plans:
        require_same_runs(plan, sharded)
    options = ExecutionOptions(
        select_for(plans, device_name), deadline, keep_checkpoints=keep_checkpoints, restart=force
    )
    pace = Pace()
    for plan in plans:
        make_folder(plan.folder)
    threads.limit_threads()
    here = environment.describe(options.device)
    environment.log_machine(here)
    # Read all records before training, so that a damaged one is reported at once.
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        for folder in filter(exists, map(plan.folder_of, plan.chosen)):
            make_folder(folder)
        due_ids = {run.id for run in due}
        for run in (run for run in plan.chosen if run.id not in due_ids):
            folder = plan.folder_of(run)
            remove_unneeded_checkpoint(folder, read_record(folder))
            record_pace(pace, run, folder)
        log_plan(plan, due, here)
    for plan, due in zip(plans, due_of, strict=True):
        write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
        if not due:
            continue
        used, experiment = plan.runs[0].data_used, plan.experiment
        loaded = load(plan.dataset, used, experiment.data.augment, options.device)
        for number, run in enumerate(due):
            deadline.require_time()
            later = [*due[number + 1 :], *later_runs(plan, plans, due_of)]
            left = pace.seconds_for([run, *later])
            note = "" if left is None else f", about {format_duration(left)} left"
            log.info("%s %d/%d %s%s", experiment.name, number + 1, len(due), run.id, note)
            run_options = replace(options, checkpoint_every=experiment.checkpoint_every)
            try:
                execute(run, plan.folder_of(run), loaded, run_options)
            except DeviceLostError as error:
                raise UserError(lost_device(run, str(error), len(later), force)) from error
            record_pace(pace, run, plan.folder_of(run))
        del loaded  # before the next experiment's images need its memory
    return log_unfinished(plans) == 0


def select_for(plans: Sequence[Plan], device_name: str) -> "torch.device":
    """The device of that name. Raises UserError if it cannot train as the experiments say."""
    from fobench.machine import device

    selected, problems = device.select(device_name), []
    for plan in plans:
        try:
            device.require_supported(selected, plan.experiment.train)
        except UserError as error:
            problems += [f"{plan.experiment.name}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return selected


def require_same_runs(plan: Plan, sharded: bool) -> None:
    """Raises UserError if other shards of the sweep have another config or data set."""
    listed = listed_runs(plan.folder) if sharded else []
    if listed and set(listed) != {run.id for run in plan.runs}:
        raise UserError(
            f"{plan.folder / 'experiment.json'} lists other runs than this share's sweep: give all "
            "shares the same config and data set, or move the file away"
        )


def later_runs(plan: Plan, plans: Sequence[Plan], due_of: Sequence[list[Run]]) -> list[Run]:
    """The due runs of all plans after this one."""
    return [run for due in due_of[plans.index(plan) + 1 :] for run in due]


def lost_device(run: Run, reason: str, later: int, force: bool) -> str:
    """What to say when `run` has failed and left a device that no later run can use."""
    untouched, command = "still to do", "the same command"
    if force:
        untouched, command = "with any earlier results", "the same command without --force"
    return (
        f"{run.id} failed, and the device does not work any more in this process ({reason}): the "
        f"sweep stops here. Later runs, untouched and {untouched}: {later}. Give {command} again: "
        "it starts with this run, from its last checkpoint. If that fails so again, train the "
        "others with --only, and find the cause: CUDA_LAUNCH_BLOCKING=1 names the call that "
        "fails, compute-sanitizer the kernel, the driver's log (dmesg) a fault of the hardware"
    )


def log_other_machines(plan: Plan, due: Sequence[Run], here: dict[str, Any]) -> None:
    """Warn before hours of training if runs cannot be paired with those that are finished.

    `here` is the environment.
    """
    seeds, due_ids = {run.seed for run in due}, {run.id for run in due}
    finished = [run for run in plan.chosen if run.seed in seeds and run.id not in due_ids]
    found = [read_record(plan.folder_of(run))["environment"] for run in finished]
    others = sum(any(each.get(key) != here[key] for key in MACHINE) for each in found)
    if others:
        log.warning(
            "finished on another machine or card, with another driver, or recorded by a version of "
            "fobench that told machines apart otherwise: %d of the runs of the seeds to do. Their "
            "times cannot be paired with those of runs trained now; --force trains all here",
            others,
        )


def record_pace(pace: "Pace", run: Run, folder: Path) -> None:
    """Update the pace with a run, if it is finished."""
    # Another process may have just started it.
    if not exists(folder / "run.json"):
        return
    read = read_run(folder)
    if read.record["status"] == "finished":
        evaluating = sum(epoch.eval_seconds for epoch in read.epochs)
        pace.add(run, read.epochs[-1].total_train_seconds + evaluating)


def log_unfinished(plans: Sequence[Plan]) -> int:
    """Log the chosen runs that are not finished. Returns their number."""
    unfinished = [
        (plan.folder_of(run), status)
        for plan in plans
        for run, status in plan.statuses().items()
        if status != "finished"
    ]
    for folder, status in unfinished:
        log.warning("not finished: %s (%s%s)", folder, status, reason_of(folder))
    return len(unfinished)


def reason_of(folder: Path) -> str:
    reason = read_record(folder)["reason"] if exists(folder / "run.json") else None
    return f": {reason}" if reason else ""


def log_plan(plan: Plan, due: Sequence[Run], here: dict[str, Any]) -> None:
    """Log what will be done, and what the user may not expect. `here` is the environment."""
    log.info("%s: %d of %d runs to do", plan.title, len(due), len(plan.chosen))
    name = plan.experiment.name
    if plan.missing(lambda run: run.baseline_run):
        log.warning("%s has no baseline over all epochs: time saved cannot be computed", name)
    if plan.missing(lambda run: run.uncached_run):
        log.warning("%s lacks the control of its stores: the method with precompute = false", name)
    controls = plan.missing(lambda run: run.control_run).values()
    for label in dict.fromkeys(run.method.label() for run in controls):
        log.warning("%s lacks the control of one of its methods: %s", name, label)
    log_other_machines(plan, due, here)
    due_ids = {run.id for run in due}
    for run in plan.chosen:
        if run.id not in due_ids and plan.status_of(run) == "diverged":
            log.warning("%s diverged; --force trains it again", run.id)
    others = unlisted_runs(plan.folder, {run.id for run in plan.runs})
    if others:
        log.warning(
            "%d runs of an earlier config or data set remain in %s, but no longer belong to the "
            "experiment; to keep both, set another experiment.name",
            *(len(others), plan.folder),
        )
