"""`fobench run`: train what is not finished."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench.cli.messages import errors_as_messages, stops_as_messages
from fobench.cli.shared_options import (
    Duration,
    Resources,
    ShardParameter,
    configs_argument,
    data_root_option,
    device_option,
    jobs_option,
    keep_checkpoints_option,
    no_wait_option,
    only_option,
    overrides_option,
    results_option,
    untimed_option,
)
from fobench.errors import UserError
from fobench.machine.launch import Launch, launched
from fobench.sweep.engines import ENGINES, HERE, OF_CLUSTERS, engine
from fobench.sweep.shard import WHOLE, Shard

if TYPE_CHECKING:
    from fobench.sweep.plan import Plan


@click.command()
@configs_argument
@overrides_option
@only_option
@results_option
@data_root_option
@device_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Prepare the data, list the runs and stop; networks from elsewhere are not checked.",
)
@click.option("--force", is_flag=True, help="Train runs again even if they ended or can resume.")
@click.option(
    "--time-limit",
    type=Duration(),
    help="Stop after an epoch, before this time is up, such as 2h; exit status 75.",
)
@keep_checkpoints_option
@click.option(
    "--shard",
    type=ShardParameter(),
    default=WHOLE,
    help="Train the ith of n shares, such as 2/5; runs that are compared stay in one share.",
)
@untimed_option
@jobs_option
@click.option(
    "--on",
    type=click.Choice(list(ENGINES)),
    default=HERE,
    show_default=True,
    help="Where runs are trained: here; slurm: in this Slurm job, which `fobench submit` starts; "
    "ray: on a Ray cluster, a task a seed.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Of the Ray cluster, or auto on its nodes. "
    " [default: $RAY_ADDRESS, else this machine alone]",
)
@click.option(
    "--resources",
    type=Resources(),
    default={},
    help="What a task on Ray takes, such as cpus=8,gpus=1; also resources with names of your own. "
    " [default: cpus=1]",
)
@no_wait_option
def run(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    only: tuple[str, ...],
    results: Path,
    data_root: Path | None,
    device: str,
    dry_run: bool,
    force: bool,
    time_limit: float | None,
    keep_checkpoints: bool,
    shard: Shard,
    untimed: bool,
    jobs: int,
    on: str,
    address: str | None,
    resources: dict[str, float],
    no_wait: bool,
) -> None:
    """Train the runs of CONFIGS that are not finished yet, one after another.

    \b
    A config is a TOML file, or the name of one that comes with fobench, such as quick/densenet.
    An interrupted run resumes after the last epoch that was saved.
    Several processes, as torchrun starts them, train each run together.
    Exit status: 0 all finished, 1 some did not, 2 a mistake to fix,
    75 the time limit, 128 + n stopped by signal n: 130 Ctrl-C,
    143 SIGTERM, 129 SIGHUP, 138 SIGUSR1, 140 SIGUSR2, 152 SIGXCPU.
    """
    from fobench.experiment.config import load_all
    from fobench.experiment.packaged_configs import find_config
    from fobench.machine.interruption import Deadline
    from fobench.sweep.compared import compare_not, compare_once
    from fobench.sweep.options import SweepOptions
    from fobench.sweep.plan import plan_all

    deadline = Deadline(time_limit)
    with errors_as_messages(), stops_as_messages(force):
        process = launched()
        if process.rank and dry_run:
            return
        if process.count > 1 and not dry_run:
            join_others(process, device)
            require_one_run(process, jobs, on)
        if force and time_limit is not None:
            raise UserError(
                "--force and --time-limit: each restart would begin the sweep from scratch; "
                "give one of them"
            )
        if (address or resources) and on not in OF_CLUSTERS:
            raise UserError(f"--address and --resources are for --on {' and '.join(OF_CLUSTERS)}")
        experiments = load_all([find_config(path) for path in configs], overrides)
        compare = compare_not if dry_run else compare_once
        plans = plan_all(experiments, results, data_root, only, shard, compare)
        if dry_run:
            print_plans(plans, force)
            return
        options = SweepOptions(
            device,
            deadline,
            force=force,
            keep_checkpoints=keep_checkpoints,
            sharded=shard != WHOLE,
            jobs=jobs,
            beside_others=untimed,
            wait=not no_wait,
            address=address,
            resources=resources,
        )
        # Torch is needed from here on.
        if not engine(on)(plans, options):
            sys.exit(1)


def join_others(process: Launch, device: str) -> None:
    """Join the processes that a launcher started together. All but the first end here."""
    # Else torch warns of each connection that ends with its process.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from fobench.machine.process_group import join
    from fobench.sweep.followers import follow_first

    if process.rank:
        follow_first(process, device)
    join(process, device)


def require_one_run(process: Launch, jobs: int, on: str) -> None:
    """Raises UserError for what several processes that train a run together cannot do."""
    wrong = [f"--jobs {jobs}"] if jobs > 1 else []
    wrong += [f"--on {on}"] if on in OF_CLUSTERS else []
    if wrong:
        raise UserError(
            f"{each}: the {process.count} processes that were started train one run together, "
            "here: leave it out, or start one process"
            for each in wrong
        )


def print_plans(plans: "list[Plan]", force: bool) -> None:
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        click.echo(f"{plan.title}: {len(due)} of {len(plan.chosen)} runs to do")
        due_ids = {run.id for run in due}
        for each in plan.chosen:
            status = "to do" if each.id in due_ids else plan.status_of(each)
            click.echo(f"  {status:8}  {each.total_steps:7,} steps  {each.id}")
