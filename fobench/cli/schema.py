"""`fobench schema`: the format of configs, for editors and as a reference page."""

import json
from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages, write_or_print
from fobench.cli.shared_options import UserPath


@click.command()
@click.option(
    "-o",
    "--output",
    type=UserPath(dir_okay=False),
    help="A file.  [default: the screen]",
)
@click.option("--markdown", is_flag=True, help="Write a page on all options, in Markdown.")
def schema(output: Path | None, markdown: bool) -> None:
    """Write the JSON Schema of configs, for completion and checks in editors.

    \b
    Reference it in the first line of a config:  #:schema ./fobench.schema.json
    """
    from fobench.experiment.json_schema import config_schema
    from fobench.experiment.reference_page import reference

    with errors_as_messages():
        text = reference() if markdown else json.dumps(config_schema(), indent=2) + "\n"
        write_or_print(text, output)
