"""What commands say of errors, stops and what they left out."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

from fobench.errors import UserError


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Print the user's mistakes, a line each, and leave with exit status 2."""
    try:
        yield
    except UserError as error:
        for problem in error.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(2)


@contextmanager
def stops_as_messages(force: bool) -> Iterator[None]:
    """Leave on the first Ctrl-C or SIGTERM, or when the time is up, and say how to go on."""
    from fobench.machine.stopping import Stopped, stopping_on_signals

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


def print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        click.echo(f"Note: {note}", err=True)
