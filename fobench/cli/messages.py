"""Messages of commands about errors, stops and skipped results."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import click

from fobench.errors import UserError

# What is open, as /dev/stdout and /dev/fd/3, even if a file is behind it.
DEVICES = ("/dev", "/dev/fd", "/proc/self/fd")


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Print the user's mistakes, one per line, and exit with status 2."""
    try:
        yield
    except UserError as error:
        for problem in error.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(2)


@contextmanager
def prints_aside() -> Iterator[None]:
    """Show what a user's network prints, where it is part of no table or CSV."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def stops_as_messages(force: bool) -> Iterator[None]:
    """Exit on the first signal to stop, or when the time is up, and say how to resume."""
    from fobench.machine.interruption import Stopped, stopping_on_signals

    try:
        with stopping_on_signals():
            yield
    except Stopped as stopped:
        how_to_resume = "the same command resumes from here"
        if force:
            how_to_resume = (
                "the same command without --force resumes the current run; runs that were not "
                "started again keep their earlier results"
            )
        click.echo(f"Stopped by {stopped}: {how_to_resume}", err=True)
        sys.exit(stopped.exit_status)


def print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        click.echo(f"Note: {note}", err=True)


def print_rows(rows: Sequence[dict[str, object]]) -> None:
    """Rows as aligned columns: the first to the left, the others to the right."""
    names = list(rows[0])
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        first, *others = line
        right = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        click.echo("  ".join([first.ljust(widths[0]), *right]).rstrip())


def write_or_print(text: str, output: Path | None) -> None:
    """Write a text to a file and print its path; without a file, print the text.

    Raises UserError if the file cannot be written.
    """
    from fobench.records.files import exists, make_folder, write_bytes

    if output is None:
        click.echo(text, nl=False)
    elif exists(output) and (not output.is_file() or str(output.parent) in DEVICES):
        write_into(output, text)
    else:
        make_folder(output.parent)
        write_bytes(output, text.encode())
        click.echo(output)


def write_into(pipe: Path, text: str) -> None:
    """Write a text to a pipe or a device such as /dev/stdout, which no file may replace.

    Raises UserError if that fails.
    """
    try:
        with pipe.open("a", encoding="utf-8") as file:  # a file behind it may hold more
            file.write(text)
    except OSError as error:
        raise UserError(
            f"{pipe} cannot be written ({error.strerror}): give another file"
        ) from error
