"""Train a sweep, or a share of one, in the Slurm job that this process belongs to.

A block stays on the node where it began, the job's time limit is kept, and a job that is out of
time queues itself again.
"""

import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isinf

from fobench.errors import UserError
from fobench.machine.interruption import EXIT_TIME_LIMIT, Deadline, Stopped
from fobench.sweep import here
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan
from fobench.sweep.slurm import commands
from fobench.sweep.slurm.commands import SlurmError
from fobench.sweep.slurm.nodes import node_of, write_node
from fobench.sweep.time_left import format_duration

log = logging.getLogger(__name__)

# Of the job's time, for what follows the last epoch: its checkpoint, and the way into the queue.
MARGIN_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """A Slurm job by its id, and its node; whether it `is_element`, one of an array."""

    id: str
    node: str
    is_element: bool


def this_job(variables: Mapping[str, str]) -> Job:
    """The job with these environment variables. Raises UserError if they are of none."""
    job, node = variables.get("SLURM_JOB_ID"), variables.get("SLURMD_NODENAME")
    if not job or not node:
        raise UserError(
            "--on slurm trains within a Slurm job, and this is none: give `fobench submit` the "
            "same configs, or start this command in a batch script"
        )
    # The last element has the id of the whole array.
    array, number = variables.get("SLURM_ARRAY_JOB_ID"), variables.get("SLURM_ARRAY_TASK_ID")
    return Job(f"{array}_{number}" if array else job, node, array is not None)


def train(plans: Sequence[Plan], options: SweepOptions) -> bool:
    """Train the runs in this job. Returns whether all are finished.

    Raises like `here.train`, and Stopped if the job leaves for the node of its blocks.
    """
    job = this_job(os.environ)
    if options.force:
        raise UserError(
            "--force and --on slurm: each restart of the job would begin the sweep from scratch; "
            "give --force to a `fobench run` without --on slurm"
        )
    left = time_left(job)
    log.info(
        "job %s on node %s, %s",
        *(job.id, job.node, "no time limit" if isinf(left) else f"{format_duration(left)} left"),
    )
    ends = time.monotonic() + left
    if left - MARGIN_SECONDS < options.deadline.seconds_left:
        options = replace(options, deadline=Deadline(left - MARGIN_SECONDS))
    stays = options.timed and keep_together(plans, job)
    try:
        # An element's config may have been edited since it was submitted, even of the only one.
        return here.train(plans, replace(options, sharded=options.sharded or job.is_element))
    except Stopped as stopped:
        if stopped.exit_status == EXIT_TIME_LIMIT:
            queue_again(job, stays)
        elif time.monotonic() > ends:
            log.error(
                "the job's time limit came within an epoch, so that it is not queued again: submit "
                "again; if no epoch fits into the limit, with a longer --time"
            )
        raise


def time_left(job: Job) -> float:
    """The seconds until the job's time limit; infinite without one, or if it is unknown."""
    try:
        return commands.seconds_left(job.id)
    except SlurmError as error:
        log.warning("trains without a time limit, as the job's is unknown: %s", error)
        return inf


def keep_together(plans: Sequence[Plan], job: Job) -> bool:
    """Leave for the node where these blocks began, or note that they begin here.

    Where that node is down, or cannot be had, they go on here: the report then says what is not
    paired. Returns whether this is the node of a block. Raises Stopped if the job leaves.
    """
    blocks = [(plan, seed) for plan in plans for seed in sorted({run.seed for run in plan.due()})]
    node_by_block = {(plan.folder, seed): node_of(plan, seed) for plan, seed in blocks}
    nodes = {node for node in node_by_block.values() if node is not None}
    if nodes and job.node not in nodes:
        for node in sorted(nodes):
            if can_go_to(node, job):
                leave_for(node, job, blocks)
    for plan, seed in blocks:
        if node_by_block[plan.folder, seed] is None:
            write_node(plan, seed, job.node)
    return any(node in (None, job.node) for node in node_by_block.values())


def can_go_to(node: str, job: Job) -> bool:
    """Whether a node is up; if not, it is logged that the job trains here."""
    try:
        if commands.is_up(node):
            return True
        why = "is down"
    except SlurmError as error:
        why = f"is unknown ({error})"
    log.warning(
        "node %s, where these runs began, %s: the rest is trained on %s and not paired with them",
        *(node, why, job.node),
    )
    return False


def leave_for(node: str, job: Job, blocks: Sequence[tuple[Plan, int]]) -> None:
    """Queue the job again, for a node. Raises Stopped; returns if it cannot be queued."""
    if not requeue(job):
        return
    try:
        commands.pin(job.id, node)
    except SlurmError as error:
        log.warning("the runs that began on %s go on here, on %s: %s", node, job.node, error)
        for plan, seed in blocks:
            write_node(plan, seed, job.node)  # else the next start would leave for it again
        node = job.node
        pin_here(job)
    raise Stopped(f"a requeue onto node {node}, where these runs began", EXIT_TIME_LIMIT)


def queue_again(job: Job, stays: bool) -> None:
    """Queue the job again: for its node if it `stays` there, else for any."""
    if not requeue(job):
        return
    if stays:
        pin_here(job)
    log.info("job %s is queued again, for %s", job.id, f"node {job.node}" if stays else "any node")


def pin_here(job: Job) -> None:
    try:
        commands.pin(job.id, job.node)
    except SlurmError as error:
        log.warning("job %s may start on another node: %s", job.id, error)


def requeue(job: Job) -> bool:
    """Queue the job again, whose processes Slurm then ends. Returns whether it did."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        commands.requeue(job.id)
    except SlurmError as error:
        signal.signal(signal.SIGTERM, before)
        log.warning("job %s cannot be queued again: %s", job.id, error)
        return False
    return True
