"""The commands. Each imports what it needs when it is called, so that help answers at once."""

import logging
import sys
from pathlib import Path

import click

from fobench import __version__
from fobench.errors import UserError
from fobench.messages import (
    draw_all,
    mistakes_as_messages,
    print_estimates,
    print_plans,
    print_prepared,
    read_panels,
    stops_as_messages,
)
from fobench.parameters import Duration, ShardParameter
from fobench.shard import WHOLE, Shard

FOLDER = click.Path(file_okay=False, path_type=Path)


data_root_option = click.option(
    "--data-root",
    type=FOLDER,
    help="Where prepared data sets lie.  [default: $FOBENCH_DATA, else ~/.cache/fobench]",
)


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
    with mistakes_as_messages(), stops_as_messages(force):
        if force and time_limit is not None:
            raise UserError(
                "--force and --time-limit: started again, the sweep would begin again each time; "
                "give one of them"
            )
        experiments = config.load_all(configs, overrides)
        plans = sweep.plan_all(experiments, results, datasets.data_root(data_root), only, shard)
        if dry_run:
            print_plans(plans, force)
            return
        with machine_lock(wait=not no_wait, deadline=deadline):
            if estimate:
                print_estimates(plans, device, force)
            elif not sweep.carry_out(
                plans, device, deadline, force, keep_checkpoints, sharded=shard != WHOLE
            ):
                sys.exit(1)


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
    "[default: KIND.svg in the first DIR that has results]",
)
@resumed_option
def plot(folders: tuple[Path, ...], kind: str, output: Path | None, include_resumed: bool) -> None:
    """Draw the results of the experiments in DIR, such as results/quick-densenet."""
    from fobench import plot as figures

    with mistakes_as_messages():
        panels = read_panels(folders, include_resumed)
        if kind == "all":
            draw_all(panels, output or panels[0].folder)
        else:
            path = output or panels[0].folder / f"{kind}.svg"
            figures.draw(panels, kind, path)
            click.echo(path)


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
