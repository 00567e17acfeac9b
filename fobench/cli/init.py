"""`fobench init`: a config to start from."""

from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages
from fobench.cli.shared_options import UserPath
from fobench.errors import UserError


@click.command()
@click.argument("name", default="quick/densenet")
@click.option(
    "--list", "list_configs", is_flag=True, help="List the configs that come with fobench."
)
@click.option(
    "-o",
    "--output",
    type=UserPath(dir_okay=False),
    help="The config to write.  [default: NAME's last part, here]",
)
def init(name: str, list_configs: bool, output: Path | None) -> None:
    """Write a config to start from: that of NAME, with all its other options as comments.

    NAME is a config that comes with fobench, such as quick/densenet.
    """
    from fobench.experiment.packaged_configs import names_of_configs, packaged_config
    from fobench.experiment.starter_config import starter_config
    from fobench.records.files import exists, make_folder, write_bytes

    with errors_as_messages():
        if list_configs:
            if output is not None:
                raise UserError("--list and -o: give one of them")
            click.echo("\n".join(names_of_configs()))
            return
        config = packaged_config(name)
        path = output or Path(config.name)
        if exists(path):
            raise UserError(f"{path} exists already: give another file with -o, or remove it")
        text = starter_config(config.read_text(encoding="utf-8"), path.stem)
        make_folder(path.parent)
        write_bytes(path, text.encode())
        click.echo(path)
        click.echo(
            f"fobench schema -o {path.parent / 'fobench.schema.json'} enables completion "
            "and checks in editors.",
            err=True,
        )
