"""The commands. Each imports what it needs when it is called, so that help answers at once."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench import __version__
from fobench.errors import UserError
from fobench.parameters import Duration, ShardParameter
from fobench.shard import WHOLE, Shard

if TYPE_CHECKING:
    from fobench.panel import Panel
    from fobench.sweep import Plan

FOLDER = click.Path(file_okay=False, path_type=Path)


data_root_option = click.option(
    "--data-root",
    type=FOLDER,
    help="Where prepared data sets lie.  [default: $FOBENCH_DATA, else ~/.cache/fobench]",
)


@contextmanager
def mistakes_as_messages() -> Iterator[None]:
    """Tell the user's mistakes, a line each, and leave with exit status 2."""
    try:
        yield
    except UserError as error:
        for problem in error.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(2)


@contextmanager
def stops_as_messages() -> Iterator[None]:
    """Leave on the first Ctrl-C or SIGTERM, or when the time is up, and say how to go on."""
    from fobench.stopping import Stopped, stopping_on_signals

    try:
        with stopping_on_signals():
            yield
    except Stopped as stopped:
        click.echo(f"Stopped by {stopped}: the same command goes on from here", err=True)
        sys.exit(stopped.exit_status)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Does freezing layers while training pay off? Train with and without, and compare.

    \b
    fobench run configs/quick/densenet.toml
    fobench plot results/quick-densenet -o figure.png
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@main.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override an option of the configs, such as train.epochs=3.",
)
@click.option("--only", metavar="PATTERN", help="Only runs whose id holds this text or pattern.")
@click.option(
    "--results",
    type=FOLDER,
    default="results",
    show_default=True,
    help="Where the experiments' folders go.",
)
@data_root_option
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--dry-run", is_flag=True, help="List the runs and stop.")
@click.option(
    "--estimate", is_flag=True, help="Measure a few steps, predict hours and disk, and stop."
)
@click.option("--force", is_flag=True, help="Train runs anew that have ended or could go on.")
@click.option(
    "--time-limit",
    type=Duration(),
    help="Stop after an epoch before this time is up, such as 2h, with exit status 75.",
)
@click.option(
    "--keep-checkpoints", is_flag=True, help="Keep the last checkpoint of runs that finish."
)
@click.option(
    "--shard",
    type=ShardParameter(),
    default=WHOLE,
    help="Train the ith of n shares, such as 2/5; runs to be compared stay in one share.",
)
@click.option(
    "--no-wait", is_flag=True, help="Leave if another `fobench run` is timing on this machine."
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
    A run that was cut off goes on after the last epoch that it kept.
    Exit status: 0 all finished, 1 some did not, 2 a mistake to mend,
    75 the time limit, 130 Ctrl-C, 143 SIGTERM.
    """
    from fobench import config, datasets, sweep
    from fobench.lock import machine_lock
    from fobench.stopping import Deadline

    deadline = Deadline(time_limit)
    with mistakes_as_messages(), stops_as_messages():
        experiments = config.load_all(configs, overrides)
        plans = sweep.plan_all(experiments, results, datasets.data_root(data_root), only, shard)
        if dry_run:
            print_plans(plans, force)
            return
        with machine_lock(wait=not no_wait, deadline=deadline):
            if estimate:
                print_estimates(plans, device, force)
            elif not sweep.carry_out(plans, device, deadline, force, keep_checkpoints):
                sys.exit(1)


def print_plans(plans: "list[Plan]", force: bool) -> None:
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        click.echo(f"{plan.title}: {len(due)} of {len(plan.chosen)} runs to do")
        for each in plan.chosen:
            status = "to do" if each in due else plan.status(each)
            click.echo(f"  {status:8}  {each.total_steps:7,} steps  {each.id}")


def print_estimates(plans: "list[Plan]", device: str, force: bool) -> None:
    from fobench.device import choose
    from fobench.estimate import estimate

    here = choose(device)
    estimates = {plan.experiment.name: estimate(plan, here, force) for plan in plans}
    for name, each in estimates.items():
        click.echo(
            f"{name}: {each.runs} runs to do, about {each.seconds / 3600:.2f} hours "
            f"on {here.type}, {each.disk_bytes / 1e6:.1f} MB of results"
        )
    total = sum(each.seconds for each in estimates.values()) / 3600
    disk = sum(each.disk_bytes for each in estimates.values()) / 1e6
    click.echo(f"all: about {total:.2f} hours, {disk:.1f} MB of results")


folders_argument = click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
resumed_option = click.option(
    "--include-resumed",
    is_flag=True,
    help="Take the times of runs that were resumed; else they are left out.",
)


@main.command()
@folders_argument
@click.option(
    "--kind",
    type=click.Choice(["speedup-error", "curves", "schedule", "time", "pareto", "all"]),
    default="speedup-error",
    show_default=True,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The figure: .png, .svg or .pdf; for all kinds, their folder.  "
    "[default: KIND.svg in the first DIR]",
)
@resumed_option
def plot(folders: tuple[Path, ...], kind: str, output: Path | None, include_resumed: bool) -> None:
    """Draw the results of the experiments in DIR, such as results/quick-densenet."""
    from fobench import plot as figures

    with mistakes_as_messages():
        panels = read_panels(folders, include_resumed)
        if kind == "all":
            paths = {each: (output or folders[0]) / f"{each}.svg" for each in figures.KINDS}
        else:
            paths = {kind: output or folders[0] / f"{kind}.svg"}
        for each, path in paths.items():
            figures.draw(panels, each, path)
            click.echo(path)


def read_panels(folders: tuple[Path, ...], include_resumed: bool) -> "list[Panel]":
    """The experiments in the folders; what is left out of them is told."""
    from fobench import panel

    panels, notes = panel.read_panels(folders, include_resumed)
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    return panels


@main.command()
@folders_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A Markdown file.  [default: the screen]",
)
@click.option(
    "--target-error",
    type=click.FloatRange(0, 100),
    help="Tell the time to this validation error, in percent.  "
    "[default: one that all baselines reach]",
)
@resumed_option
def report(
    folders: tuple[Path, ...],
    output: Path | None,
    target_error: float | None,
    include_resumed: bool,
) -> None:
    """Tell the results of the experiments in DIR: tables, the noise of the clock, warnings."""
    from fobench import panel
    from fobench import report as reports
    from fobench.files import make_folder, write_bytes

    with mistakes_as_messages():
        panels, notes = panel.read_panels(folders, include_resumed)
        text = reports.report(panels, notes, target_error)
        if output is None:
            click.echo(text)
        else:
            make_folder(output.parent)
            write_bytes(output, text.encode())
            click.echo(output)


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@data_root_option
def data(names: tuple[str, ...], data_root: Path | None) -> None:
    """Prepare the data sets NAME (cifar10, cifar100); without a name, list what is prepared."""
    from fobench import datasets
    from fobench.prepare import prepare, require_known

    root = datasets.data_root(data_root)
    with mistakes_as_messages():
        require_known(names)
        for name in names:
            click.echo(prepare(name, root))
        if not names:
            print_prepared(root)


def print_prepared(root: Path) -> None:
    from fobench import datasets
    from fobench.prepare import SOURCES

    found = sorted(root.glob("*.npz"))
    click.echo(f"{len(found)} prepared in {root}")
    for path in found:
        try:
            each = datasets.open_npz(path)
        except UserError as error:
            click.echo(f"  {path.stem}: damaged: {'; '.join(error.problems)}")
            continue
        size = "x".join(str(side) for side in each.image_shape)
        click.echo(
            f"  {each.name}: {len(each.train_images):,} training and {len(each.test_images):,} "
            f"test images, {size}, {len(each.classes)} classes, fingerprint {each.fingerprint}"
        )
    others = [name for name in SOURCES if root / f"{name}.npz" not in found]
    if others:
        click.echo(f"not prepared: {', '.join(others)} (fobench data NAME downloads and prepares)")
    click.echo(f"always there: {datasets.SYNTHETIC} (generated)")
