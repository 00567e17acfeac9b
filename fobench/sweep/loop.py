"""Train the runs of a sweep: one after another, or several at once."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch

from fobench.errors import UserError
from fobench.machine import device, threads
from fobench.machine.lock import MachineLock
from fobench.machine.memory import release_memory
from fobench.machine.ranks import current
from fobench.records.files import exists
from fobench.records.runs import read_record
from fobench.sweep.jobs import train_at_once
from fobench.sweep.leader import lead, lost_ranks_as_messages
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan
from fobench.sweep.prepare import measure_plans, prepare, profiled
from fobench.sweep.tasks import (
    Sweep,
    Task,
    find_statistics,
    images_of,
    lost_device,
    message_of_images,
    out_of_step,
)
from fobench.sweep.time_left import format_duration
from fobench.training.execute import ExecutionOptions, execute
from fobench.training.failure import DeviceLostError, OutOfStepError
from fobench.training.progress import RunProgress

log = logging.getLogger(__name__)


@lost_ranks_as_messages()
def train_all(
    plans: Sequence[Plan],
    options: SweepOptions,
    machine: MachineLock,
    progress: RunProgress | None = None,
) -> bool:
    """Train the chosen runs that have not ended. Returns whether all are finished.

    Raises Stopped if the deadline comes first, and UserError if the device stops working.
    """
    execution = ExecutionOptions(
        select_for(plans, options.device),
        options.deadline,
        keep_checkpoints=options.keep_checkpoints,
        restart=options.force,
        timed=options.timed,
        ranks=current(),
    )
    threads.limit_threads()
    allowed = torch.get_num_threads()
    # A profile is of one process.
    alone = not options.beside_others and execution.ranks.count == 1
    measure_with = allowed if alone else None
    torch.set_num_threads(max(1, allowed // options.jobs))
    lead(execution.ranks, execution.device, options.timed)
    sweep = prepare(plans, execution, options.force, options.sharded, options.jobs)
    if options.jobs > 1:
        found = list[Task]()
        for tasks in by_experiment(sweep):
            tasks = profiled(tasks, execution, machine, measure_with)
            measure_plans(tasks, execution, machine)
            find_statistics(tasks[0])
            found += tasks
        release_memory(execution.device)  # the images that were measured with
        lost = train_at_once(replace(sweep, tasks=tuple(found)), options.jobs)
    else:
        lost = []
        train_in_turn(sweep, machine, measure_with, progress)
    unfinished = log_unfinished(plans)
    if not options.timed:
        log_untimed(sweep, lost)
    return unfinished == 0 and not lost


def select_for(plans: Sequence[Plan], device_name: str) -> torch.device:
    """The device of that name. Raises UserError if it cannot train as the experiments say."""
    selected, problems = device.select(device_name), []
    for plan in plans:
        try:
            device.require_supported(selected, plan.experiment.train)
        except UserError as error:
            problems += [f"{plan.experiment.name}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return selected


def by_experiment(sweep: Sweep) -> list[list[Task]]:
    grouped = groupby(sweep.tasks, key=lambda task: task.plan.experiment.name)
    return [list(tasks) for _, tasks in grouped]


def train_in_turn(
    sweep: Sweep, machine: MachineLock, measure_with: int | None, progress: RunProgress | None
) -> None:
    """Train one run after another, in this process."""
    options, left = sweep.options, deque(sweep.tasks)
    for tasks in by_experiment(sweep):
        options.deadline.expect_epoch(0.0)  # the first run of all is trained in any case
        data = images_of(tasks[0], options)
        options.ranks.tell(message_of_images(tasks[0]))
        tasks = profiled(tasks, options, machine, measure_with, data)
        measure_plans(tasks, options, machine, data)
        for task in tasks:
            options.deadline.expect_epoch(0.0)
            seconds = sweep.pace.seconds_for(each.run for each in left)
            note = "" if seconds is None else f", about {format_duration(seconds)} left"
            log.info("%s%s", task.title, note)
            left.popleft()
            run_options = replace(
                options, checkpoint_every=task.checkpoint_every, profile=task.profile
            )
            try:
                execute(task.run, task.folder, data, run_options, progress)
            except DeviceLostError as error:
                told = lost_device(task, str(error), len(left), options.restart)
                raise UserError(told) from error
            except OutOfStepError as error:
                told = out_of_step(task, str(error), len(left), options.restart)
                raise UserError(told) from error
            sweep.record_pace(task.run, task.folder)
        del data  # before the next experiment's images need its memory


def log_unfinished(plans: Sequence[Plan]) -> int:
    """Log the chosen runs that are not finished. Returns their number."""
    unfinished = [
        (plan.folder_of(run), status)
        for plan in plans
        for run, status in plan.statuses().items()
        if status != "finished"
    ]
    for folder, status in unfinished:
        reason = read_record(folder)["reason"] if exists(folder / "run.json") else None
        log.warning("not finished: %s (%s%s)", folder, status, f": {reason}" if reason else "")
    return len(unfinished)


def log_untimed(sweep: Sweep, lost: Sequence[Task]) -> None:
    """Say what untimed runs are good for, those that were lost aside."""
    lost_ids = {task.run.id for task in lost}
    finished = [
        task
        for task in sweep.tasks
        if task.run.id not in lost_ids and task.plan.status_of(task.run) == "finished"
    ]
    if finished:
        log.info(
            "%d run%s trained untimed: errors count, seconds do not; `fobench predict` predicts "
            "the seconds",
            *(len(finished), "s" if len(finished) > 1 else ""),
        )
