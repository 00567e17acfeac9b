"""What the commands tell beside their work: mistakes, stops, lists."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench.errors import UserError

if TYPE_CHECKING:
    from fobench.panel import Panel
    from fobench.sweep import Plan


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
def stops_as_messages(force: bool) -> Iterator[None]:
    """Leave on the first Ctrl-C or SIGTERM, or when the time is up, and say how to go on."""
    from fobench.stopping import Stopped, stopping_on_signals

    try:
        with stopping_on_signals():
            yield
    except Stopped as stopped:
        again = "the same command goes on from here"
        if force:
            again = (
                "the same command without --force goes on with the run at hand; those not yet "
                "repeated keep their earlier results"
            )
        click.echo(f"Stopped by {stopped}: {again}", err=True)
        sys.exit(stopped.exit_status)


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
            f"on {here.type}, {each.disk_bytes / 1e6:.1f} MB of results and checkpoints"
        )
    total = sum(each.seconds for each in estimates.values()) / 3600
    disk = sum(each.disk_bytes for each in estimates.values()) / 1e6
    click.echo(f"all: about {total:.2f} hours, {disk:.1f} MB of results and checkpoints")
    if any(run.method.precompute for plan in plans for run in plan.due(force)):
        click.echo("The hours leave out what stores of activations may save.")


def draw_all(panels: "list[Panel]", folder: Path) -> None:
    """Draw every figure that can be: where the results do not do for one, they may for others.

    Raises UserError where the folder cannot be written.
    """
    from fobench import plot as figures
    from fobench.files import make_folder, write_bytes

    make_folder(folder)
    for kind in figures.KINDS:
        path = folder / f"{kind}.svg"
        try:
            drawn = figures.render(panels, kind, path.suffix)
        except UserError as error:
            click.echo(f"Note: no {kind}: {error}", err=True)
        else:
            write_bytes(path, drawn)
            click.echo(path)


def read_panels(folders: tuple[Path, ...], include_resumed: bool) -> "list[Panel]":
    """The experiments in the folders; what is left out of them is told."""
    from fobench import panel

    panels, notes = panel.read_panels(folders, include_resumed)
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    return panels


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
