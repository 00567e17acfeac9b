"""`fobench plot`: draw figures."""

from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages, print_notes
from fobench.cli.shared_options import UserPath, folders_argument, include_resumed_option
from fobench.errors import UserError
from fobench.figures import FIGURES, SUFFIXES


@click.command()
@folders_argument
@click.option(
    "--kind", type=click.Choice([*FIGURES, "all"]), default=next(iter(FIGURES)), show_default=True
)
@click.option(
    "-o",
    "--output",
    type=UserPath(),
    help="The figure: .png, .svg or .pdf; for all kinds, their folder.  "
    "[default: KIND.svg in the first DIR that has results]",
)
@include_resumed_option
def plot(folders: tuple[Path, ...], kind: str, output: Path | None, include_resumed: bool) -> None:
    """Draw the results of the experiments in DIR, such as results/quick-densenet."""
    from fobench.evidence.results import read_results
    from fobench.figures.settings import import_without_user_settings
    from fobench.records.files import make_folder, write_bytes

    with errors_as_messages():
        import_without_user_settings()
        from fobench.figures.export import draw, render

        panels, notes = read_results(folders, include_resumed)
        print_notes(notes)
        if kind != "all":
            path = output or panels[0].folder / f"{kind}.svg"
            draw(panels, kind, path)
            click.echo(path)
            return
        folder = output or panels[0].folder
        if folder.suffix.lower() in SUFFIXES and not folder.is_dir():
            raise UserError(f"-o {folder}: --kind all makes several figures; give a folder")
        make_folder(folder)
        for each in FIGURES:
            path = folder / f"{each}.svg"
            try:
                drawn = render(panels, each, path.suffix)
            except UserError as error:
                # Results that do not suffice for one figure may suffice for others.
                print_notes([f"no {each}: {error}"])
            else:
                write_bytes(path, drawn)
                click.echo(path)
