"""`fobench run`: train what is not finished."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench.cli.messages import errors_as_messages, stops_as_messages
from fobench.cli.shared_options import FOLDER, Duration, ShardParameter, UserPath, data_root_option
from fobench.errors import UserError
from fobench.sweep.shard import WHOLE, Shard

if TYPE_CHECKING:
    from fobench.sweep.plan import Plan


@click.command()
@click.argument("configs", nargs=-1, required=True, type=UserPath())
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override an option of the configs, such as train.epochs=3.",
)
@click.option("--only", metavar="PATTERN", help="Only runs whose id contains this text or pattern.")
@click.option(
    "--results",
    type=FOLDER,
    default="results",
    show_default=True,
    help="The folder of results, with a folder per experiment.",
)
@data_root_option
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--dry-run", is_flag=True, help="List the runs and stop.")
@click.option(
    "--estimate", is_flag=True, help="Measure a few steps, predict hours and disk, and stop."
)
@click.option("--force", is_flag=True, help="Train runs again even if they ended or can resume.")
@click.option(
    "--time-limit",
    type=Duration(),
    help="Stop after an epoch, before this time is up, such as 2h; exit status 75.",
)
@click.option(
    "--keep-checkpoints", is_flag=True, help="Keep the last checkpoint of runs that finish."
)
@click.option(
    "--shard",
    type=ShardParameter(),
    default=WHOLE,
    help="Train the ith of n shares, such as 2/5; runs that are compared stay in one share.",
)
@click.option(
    "--no-wait", is_flag=True, help="Exit if another `fobench run` is timing on this machine."
)
def run(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    only: str | None,
    results: Path,
    data_root: Path | None,
    device: str,
    dry_run: bool,
    estimate: bool,
    force: bool,
    time_limit: float | None,
    keep_checkpoints: bool,
    shard: Shard,
    no_wait: bool,
) -> None:
    """Train the runs of CONFIGS that are not finished yet, one after another.

    \b
    A config is a TOML file, or the name of one that comes with fobench, such as quick/densenet.
    An interrupted run resumes after the last epoch that was saved.
    Exit status: 0 all finished, 1 some did not, 2 a mistake to fix,
    75 the time limit, 128 + n stopped by signal n: 130 Ctrl-C,
    143 SIGTERM, 129 SIGHUP, 138 SIGUSR1, 140 SIGUSR2, 152 SIGXCPU.
    """
    from fobench.experiment.config import load_all
    from fobench.experiment.packaged_configs import find_config
    from fobench.machine.interruption import Deadline
    from fobench.sweep.plan import plan_all

    deadline = Deadline(time_limit)
    with errors_as_messages(), stops_as_messages(force):
        if force and time_limit is not None:
            raise UserError(
                "--force and --time-limit: each restart would begin the sweep from scratch; "
                "give one of them"
            )
        experiments = load_all([find_config(path) for path in configs], overrides)
        plans = plan_all(experiments, results, data_root, only, shard)
        if dry_run:
            print_plans(plans, force)
            return
        # Torch is needed from here on.
        from fobench.machine.lock import machine_lock
        from fobench.sweep.loop import train_all

        with machine_lock(wait=not no_wait, deadline=deadline):
            if estimate:
                print_estimates(plans, device, force)
            elif not train_all(
                plans, device, deadline, force, keep_checkpoints, sharded=shard != WHOLE
            ):
                sys.exit(1)


def print_plans(plans: "list[Plan]", force: bool) -> None:
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        click.echo(f"{plan.title}: {len(due)} of {len(plan.chosen)} runs to do")
        due_ids = {run.id for run in due}
        for each in plan.chosen:
            status = "to do" if each.id in due_ids else plan.status_of(each)
            click.echo(f"  {status:8}  {each.total_steps:7,} steps  {each.id}")


def print_estimates(plans: "list[Plan]", device: str, force: bool) -> None:
    from fobench.sweep.estimate import estimate
    from fobench.sweep.loop import select_for

    here = select_for(plans, device)
    estimates = {plan.experiment.name: estimate(plan, here, force) for plan in plans}
    for name, each in estimates.items():
        click.echo(
            f"{name}: {each.runs} runs to do, about {each.seconds / 3600:.2f} hours "
            f"on {here.type}, {each.disk_bytes / 1e6:.1f} MB of results and checkpoints"
        )
    total = sum(each.seconds for each in estimates.values()) / 3600
    disk = sum(each.disk_bytes for each in estimates.values()) / 1e6
    click.echo(f"all: about {total:.2f} hours, {disk:.1f} MB of results and checkpoints")
    if any(run.method.stores.precompute for plan in plans for run in plan.due(force)):
        click.echo("The hours do not account for what stores of activations save.")
