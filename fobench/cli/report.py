"""`fobench report`: tables, the noise of the clock, warnings."""

from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages, write_or_print
from fobench.cli.shared_options import Percent, UserPath, folders_argument, include_resumed_option


@click.command()
@folders_argument
@click.option(
    "-o",
    "--output",
    type=UserPath(dir_okay=False),
    help="A Markdown file.  [default: the screen]",
)
@click.option(
    "--target-error",
    type=Percent(),
    help="Report the time to this validation error, in percent.  "
    "[default: one that all baselines reach]",
)
@include_resumed_option
def report(
    folders: tuple[Path, ...],
    output: Path | None,
    target_error: float | None,
    include_resumed: bool,
) -> None:
    """Report the results of the experiments in DIR: tables, the noise of the clock, warnings."""
    from fobench.evidence.results import read_results
    from fobench.report.report import report as report_on

    with errors_as_messages():
        text = report_on(*read_results(folders, include_resumed), target_error)
        write_or_print(text, output)
