"""`fobench report`: whether freezing pays off, tables, the noise of the clock, warnings."""

from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages, write_or_print
from fobench.cli.shared_options import Percent, UserPath, folders_argument, include_resumed_option
from fobench.errors import UserError

PAGES = (".html", ".htm")


@click.command()
@folders_argument
@click.option(
    "-o",
    "--output",
    type=UserPath(dir_okay=False),
    help="A file: .html for a page with figures, all else for Markdown.  [default: the screen]",
)
@click.option(
    "--target-error",
    type=Percent(),
    help="Report the time to this validation error, in percent.  "
    "[default: one that all baselines reach]",
)
@click.option(
    "--claims",
    "claims_file",
    type=UserPath(dir_okay=False),
    help="A TOML file with claims of your own to test, besides the paper's.",
)
@include_resumed_option
def report(
    folders: tuple[Path, ...],
    output: Path | None,
    target_error: float | None,
    claims_file: Path | None,
    include_resumed: bool,
) -> None:
    """Report the results of the experiments in DIR: tables, noise of the clock, verdicts.

    With -o report.html it is one page with figures that needs nothing but a browser.
    """
    from fobench.evidence.claims import read_claims
    from fobench.evidence.results import read_results
    from fobench.report import tables

    with errors_as_messages():
        if output is not None and output.suffix.lower() in PAGES:
            from fobench.figures.settings import import_without_user_settings

            import_without_user_settings()
            from fobench.report.html import page as written
        else:
            from fobench.report.report import report as written
        claims = read_claims(claims_file)
        experiments, left_out = read_results(folders, include_resumed)
        if target_error is not None and all(
            tables.target_error(each, target_error) is None for each in experiments
        ):
            raise UserError("--target-error: no run here has validation images; leave it out")
        text = written(experiments, left_out, target_error, claims)
        write_or_print(text, output)
