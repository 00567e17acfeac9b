"""The command line, one file per command. Commands import what they need when called, so that
`--help` is fast.
"""

import logging
import sys
from typing import Any

import click

from fobench import __version__
from fobench.cli.data import data
from fobench.cli.init import init
from fobench.cli.plot import plot
from fobench.cli.predict import predict
from fobench.cli.report import report
from fobench.cli.run import run
from fobench.cli.schema import schema
from fobench.cli.status import status
from fobench.cli.streams import standard_streams
from fobench.cli.submit import submit
from fobench.cli.units import units


class Program(click.Group):
    """The commands, with standard streams that are always there."""

    def main(self, *args: Any, **options: Any) -> Any:
        with standard_streams():
            return super().main(*args, **options)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Does freezing layers during training pay off? Train with and without, and compare.

    \b
    fobench init -o mine.toml               a config to start from
    fobench units mine.toml                 what its network freezes one after another
    fobench predict mine.toml               what freezing should save, from a minute's profile
    fobench run mine.toml                   train what it describes
    fobench submit mine.toml                the same in a job array of Slurm
    fobench status mine.toml                what is finished, under way and to do
    fobench plot results/mine               draw time saved against test error
    fobench report results/mine             tables, noise, warnings
    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    # Libraries report what is of no interest here, such as a new list of fonts.
    logging.getLogger("fobench").setLevel(logging.INFO)


for command in (predict, run, submit, status, plot, report, units, data, init, schema):
    main.add_command(command)
