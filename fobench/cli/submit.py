"""`fobench submit`: train what is not finished in job arrays of Slurm."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fobench.cli.messages import errors_as_messages
from fobench.cli.shared_options import (
    configs_argument,
    data_root_option,
    device_option,
    jobs_option,
    keep_checkpoints_option,
    only_option,
    overrides_option,
    results_option,
    untimed_option,
)
from fobench.machine.home import expand_user

if TYPE_CHECKING:
    from fobench.sweep.plan import Plan
    from fobench.sweep.slurm.script import Submission
    from fobench.sweep.slurm.submission import Share

MARK = "--"


class WithSbatchOptions(click.Command):
    """A command whose words after the first `--` are options of sbatch, verbatim."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index(MARK) if MARK in args else len(args)
        ctx.params["sbatch_options"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- SBATCH_OPTIONS]"]


@click.command(cls=WithSbatchOptions)
@configs_argument
@overrides_option
@only_option
@results_option
@data_root_option
@device_option
@keep_checkpoints_option
@untimed_option
@jobs_option
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Train each run by N processes of a node, with a GPU each where it has some.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the batch script for all that is due; ask and submit nothing.",
)
def submit(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    only: tuple[str, ...],
    results: Path,
    data_root: Path | None,
    device: str,
    keep_checkpoints: bool,
    untimed: bool,
    jobs: int,
    processes: int,
    dry_run: bool,
    sbatch_options: tuple[str, ...],
) -> None:
    """Train the runs of CONFIGS that are not finished yet in job arrays of Slurm, one a config.

    An element of an array trains the runs with one seed, which stay on a node to be paired. What
    ends early is continued by Slurm, or by the same command, given again at any time: it submits
    the seeds that have something to do and no element under way, whatever --only that was given.

    \b
    What follows -- are options of sbatch, such as
    fobench submit mine.toml -- --time=2:00:00 --gpus=1 --cpus-per-task=8
    Without a GPU, timed elements get --exclusive, a node each.
    """
    from fobench.errors import UserError
    from fobench.experiment.config import load_all
    from fobench.experiment.packaged_configs import find_config
    from fobench.sweep.compared import compare_not
    from fobench.sweep.plan import plan_all
    from fobench.sweep.slurm.nodes import slurm_folder
    from fobench.sweep.slurm.script import Submission
    from fobench.sweep.slurm.submission import job_name, require_allowed

    with errors_as_messages():
        if jobs > 1 and processes > 1:
            raise UserError(
                "--jobs and --processes: several runs at once, or several processes for each run; "
                "give one of them"
            )
        require_allowed(sbatch_options)
        paths = [find_config(path) for path in configs]
        experiments = load_all(paths, overrides)
        plans = plan_all(experiments, results, data_root, only, compare=compare_not)
        options = {
            "--set": overrides,
            "--only": only,
            "--results": results.absolute(),
            "--data-root": None if (root := given_root(data_root)) is None else root.absolute(),
            "--device": device,
            "--keep-checkpoints": keep_checkpoints,
            "--untimed": untimed,
            "--jobs": None if jobs == 1 else jobs,
        }
        # All that can be wrong, before anything is submitted.
        shares = [share_of(plan, ask_slurm=not dry_run) for plan in plans]
        for path, share in zip(paths, shares, strict=True):
            submission = Submission(
                name=job_name(share.plan),
                numbers=share.to_submit,
                blocks=len(share.plan.experiment.seeds),
                logs=slurm_folder(share.plan).absolute(),
                folder=Path.cwd(),
                command=command_of(path, options),
                alone=not untimed and jobs == 1,
                processes=processes,
                options=sbatch_options,
            )
            submit_or_print(share, submission, dry_run)


def given_root(data_root: Path | None) -> Path | None:
    """The folder of data sets, if one is given: a job may have no variables of this shell."""
    named = os.environ.get("FOBENCH_DATA")
    return expand_user(named) if data_root is None and named else data_root


def command_of(config: Path, options: dict[str, Any]) -> list[str]:
    """`fobench run` with a config and options, wherever it is given.

    The current folder is not searched for modules, as by the installed command.
    """
    words = [sys.executable, "-P", "-m", "fobench", "run", str(config.absolute())]
    for name, value in options.items():
        if isinstance(value, bool):
            words += [name] if value else []
        else:
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            words += [f"{name}={each}" for each in values]
    return words


def share_of(plan: "Plan", ask_slurm: bool) -> "Share":
    """What is left of an experiment. What earlier submissions have under way of it is printed."""
    from fobench.sweep.slurm.submission import Share, due_of, free_from_lost_nodes, under_way

    share = Share(plan, due_of(plan), under_way(plan) if ask_slurm else {})
    name = plan.experiment.name
    for seed, element in sorted(share.under_way.items()):
        click.echo(f"{name}: seed {seed} is under way, job {element.id}, {element.described}")
    for element in free_from_lost_nodes(share):
        click.echo(
            f"{name}: job {element.id} waited for node {element.nodes}, which is down: it can "
            "start on any node now, where its times are not paired with those of earlier runs"
        )
    return share


def submit_or_print(share: "Share", submission: "Submission", dry_run: bool) -> None:
    """Submit what is left of an experiment, if there is something; or print the script."""
    from fobench.sweep.slurm.script import script_of
    from fobench.sweep.slurm.submission import submit

    if not share.to_submit:
        none_due = f"0 of {len(share.plan.chosen)} runs to do"
        told = "each seed with something to do is under way" if share.due else none_due
        click.echo(f"{share.plan.experiment.name}: nothing to submit, {told}", err=dry_run)
    elif dry_run:
        click.echo(script_of(submission), nl=False)
    else:
        job = submit(share.plan, submission)
        count = f"{len(submission.numbers)} of {submission.blocks} seeds, an element each"
        click.echo(
            f"Submitted job {job}: {count}\n"
            f"logs:   {submission.logs}/{job}_*.log\n"
            f"follow: squeue --name={submission.name}"
        )
