"""The program's standard streams: always open, and never the cause of a traceback."""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

STDOUT, STDERR = 1, 2


class OutputError(OSError):
    """Standard output cannot be written. A type of its own, as other files' errors are not that."""


class StandardStream(io.FileIO):
    """A standard stream's descriptor; one that does not block is waited for."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, content: Any) -> int:
        while (written := super().write(content)) is None:
            select.select([], [self], [])
        return written


class StandardOutput(StandardStream):
    """Its first error is raised; later ones, of what is left in buffers, would say the same."""

    has_failed = False

    def write(self, content: Any) -> int:
        if self.has_failed:
            return len(content)
        try:
            return super().write(content)
        except OSError as error:
            self.has_failed = True
            raise OutputError(error.errno, error.strerror) from error


class StandardError(StandardStream):
    """Its errors are ignored: there is nowhere to report them, and a run needs no screen."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(content)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Run the program in the block: an output that cannot be written is a message and status 2.

    Characters that a stream's encoding lacks are escaped. Streams that were replaced within the
    process, as tests do, stay as they are. A closed pipe is left to click, which exits silently.
    """
    open_missing_descriptors()
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = text_stream(StandardOutput(STDOUT), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = text_stream(StandardError(STDERR), sys.stderr)
    try:
        yield
    except OutputError as error:
        click.echo(f"Error: the output cannot be written ({error.strerror})", err=True)
        sys.exit(2)
    finally:
        sys.stdout, sys.stderr = before


def open_missing_descriptors() -> None:
    """Open /dev/null where a standard stream is closed, as after `2>&-`.

    The next file opened would get its number, and messages of C libraries would go into that file.
    """
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def text_stream(raw: StandardStream, before: TextIO | None) -> TextIO:
    """A text stream in the place of Python's own, which is None if the descriptor was closed."""
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty() or isinstance(raw, StandardError),
    )
