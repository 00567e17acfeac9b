"""Train a sweep on a cluster, from this process: the driver, which trains nothing itself."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from fobench.records.experiments import write_experiment
from fobench.records.files import make_folder
from fobench.sweep.display import Display, Lines, display_for
from fobench.sweep.loop import log_unfinished
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan, blocks_of
from fobench.sweep.prepare import require_same_runs
from fobench.sweep.ray.cluster import connected, log_cluster
from fobench.sweep.ray.tasks import Tasks, Work

MAX_BARS = 16


def train_blocks(plans: Sequence[Plan], options: SweepOptions) -> bool:
    """Train the runs, a block as a task. Returns whether all are finished.

    Raises Stopped if it is stopped, or out of time once all blocks are, and UserError for what the
    user can mend.
    """
    for plan in plans:
        require_same_runs(plan, options.sharded)
    work = due_blocks(plans)
    if not work:
        return log_unfinished(plans) == 0
    for plan in plans:
        make_folder(plan.folder)
        write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
    with connected(options.address), display_of(work) as display:
        log_cluster(len(work), options)
        with Tasks(work, options, display) as tasks:
            tasks.start()
            tasks.watch()
    if tasks.out_of_time is not None:
        raise tasks.out_of_time
    # Blocks without runs to do may hold some that diverged.
    return all(each.is_finished for each in work) and log_unfinished(plans) == 0


def due_blocks(plans: Sequence[Plan]) -> list[Work]:
    """The blocks with runs to do, numbered from 1."""
    due = {plan.experiment.name: plan.due() for plan in plans}
    found = [
        (plan, seed, [run for run in due[plan.experiment.name] if run.seed == seed])
        for plan, seed in blocks_of(plans)
    ]
    return [Work(number, *each) for number, each in enumerate(filter(lambda x: x[2], found), 1)]


def display_of(work: Sequence[Work]) -> AbstractContextManager[Display]:
    """A bar a block, or lines where there are more than a screen has room for."""
    runs = sum(len(each.due) for each in work)
    return display_for(len(work), runs) if len(work) <= MAX_BARS else nullcontext(Lines())
