"""`fobench status`: what has become of the runs, and the time left."""

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench.cli.messages import errors_as_messages, print_notes, print_rows
from fobench.cli.shared_options import (
    configs_argument,
    data_root_option,
    only_option,
    overrides_option,
    results_option,
)
from fobench.errors import counted, printable

if TYPE_CHECKING:
    from fobench.records.heartbeat import Heartbeat
    from fobench.sweep.plan import Plan
    from fobench.sweep.status import BlockState, Pace, RunState


@click.command()
@configs_argument
@overrides_option
@only_option
@results_option
@data_root_option
@click.option("--all", "lists_all", is_flag=True, help="List every run.")
def status(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    only: tuple[str, ...],
    results: Path,
    data_root: Path | None,
    lists_all: bool,
) -> None:
    """Show which runs of CONFIGS are finished, under way and to do, and the time left.

    A line a block, the runs of an experiment with one seed, which share a machine; then the runs
    that are under way or failed. Give the --set, --only, --results and --data-root that
    `fobench run` or `fobench submit` was given.

    \b
    running     a process trains it: where, and when it was last heard
    lost        its process died, or was not heard for ten minutes
    stopped     it waits to be resumed
    unreadable  its files are damaged
    """
    from fobench.experiment.config import load_all
    from fobench.experiment.packaged_configs import find_config
    from fobench.sweep.compared import compare_not
    from fobench.sweep.plan import plan_all
    from fobench.sweep.status import Pace, states_of

    with errors_as_messages():
        experiments = load_all([find_config(path) for path in configs], overrides)
        plans = plan_all(experiments, results, data_root, only, compare=compare_not)
        blocks = states_of(plans)
        pace = Pace(blocks)
        left = pace.seconds_left_of_all(blocks)
        print_blocks(blocks, pace, {} if left == 0 else jobs_of(plans))
        print_runs(blocks, pace, lists_all)
        print_totals(blocks, pace)


def jobs_of(plans: "list[Plan]") -> dict[tuple[Path, int], str]:
    """What Slurm has queued or running for each block, where there is Slurm."""
    from fobench.sweep.slurm.commands import SlurmError
    from fobench.sweep.slurm.submission import elements_of

    if shutil.which("squeue") is None:
        return {}
    try:
        return {
            (plan.folder, seed): f"{element.id} {element.described}"
            for plan in plans
            for seed, element in elements_of(plan).items()
        }
    except SlurmError:
        print_notes(["jobs of Slurm are not shown, as squeue fails here"])
        return {}


def print_blocks(
    blocks: "list[BlockState]", pace: "Pace", jobs: dict[tuple[Path, int], str]
) -> None:
    """The number of runs of each status, in columns for those that some have."""
    from fobench.sweep.status import STATUSES

    present = [each for each in STATUSES if any(block.counts[each] for block in blocks)]
    print_rows(
        [
            {"block": block.title, "runs": len(block.states)}
            | {each: block.counts[each] or "" for each in present}
            | {"left": duration(pace.seconds_left_of(block))}
            | ({"Slurm job": jobs.get((block.plan.folder, block.seed), "")} if jobs else {})
            for block in blocks
        ]
    )


def print_runs(blocks: "list[BlockState]", pace: "Pace", lists_all: bool) -> None:
    """A line for each run that is under way or has no result; or for each of all."""
    from fobench.sweep.status import STOPPED, TO_DO

    lines = [
        line_of(block, state, pace)
        for block in blocks
        for state in block.states
        if lists_all or state.status not in ("finished", STOPPED, TO_DO)
    ]
    for line in ["", *lines] if lines else []:
        click.echo(line)


def line_of(block: "BlockState", state: "RunState", pace: "Pace") -> str:
    """What is known of a run."""
    facts, run = [], state.run
    if state.images_left and state.images_done:
        facts.append(f"epoch {state.epoch} of {run.epochs}")
    if state.heartbeat is not None:
        facts.append(sender_of(state.heartbeat))
    if seconds := pace.seconds_left(block, state):
        facts.append(f"{duration(seconds)} left")
    if state.reason:
        facts = [state.reason]
    told = f": {', '.join(facts)}" if facts else ""
    return f"{state.status:10}  {block.plan.experiment.name}/{run.id}{printable(told)}"


def sender_of(heartbeat: "Heartbeat") -> str:
    """Where a run is or was trained, and when that was last heard of."""
    from fobench.sweep.time_left import format_duration

    job = f" ({heartbeat.job})" if heartbeat.job else ""
    age = format_duration(heartbeat.seconds_old())
    return f"on {heartbeat.node}{job}, heard {age} ago"


def print_totals(blocks: "list[BlockState]", pace: "Pace") -> None:
    """All runs, and the time until all are finished."""
    from fobench.sweep.status import STATUSES, at_once

    counts = sum((block.counts for block in blocks), Counter())
    told = ", ".join(f"{counts[each]} {each}" for each in STATUSES if counts[each])
    left, running = pace.seconds_left_of_all(blocks), max(1, at_once(blocks))
    if left:
        told += f"; {duration(left)} left with {running} at a time"
    elif left is None:
        told += "; time left unknown before each experiment has trained an epoch"
    click.echo(f"\n{counted(counts.total(), 'run')}: {told}")


def duration(seconds: float | None) -> str:
    """A time left as text."""
    from fobench.sweep.time_left import format_duration

    if seconds is None:
        return "unknown"
    return f"about {format_duration(seconds)}" if seconds else ""
