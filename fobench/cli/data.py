"""`fobench data`: list and prepare data sets."""

import re
from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages
from fobench.cli.shared_options import data_root_option
from fobench.errors import UserError, printable


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--image-size",
    type=click.IntRange(min=4),
    metavar="N",
    help="Resize the images to N pixels per side, for data.image_size = N.",
)
@data_root_option
def data(names: tuple[str, ...], image_size: int | None, data_root: Path | None) -> None:
    """Download and prepare the data sets NAME, such as cifar10; without a name, list all sets."""
    from fobench.data.download import prepare, require_known
    from fobench.data.find import data_root as root_of

    with errors_as_messages():
        root = root_of(data_root)
        if image_size and not names:
            raise UserError("--image-size: it is for a data set; give its NAME, too")
        require_known(names, image_size)
        for name in names:
            click.echo(prepare(name, root, image_size))
        if not names:
            print_prepared(root)


def print_prepared(root: Path) -> None:
    from fobench.data.find import GENERATED
    from fobench.data.notes import notes_on
    from fobench.data.npz import open_npz
    from fobench.data.scratch import leftovers, size_of
    from fobench.data.torchvision_sets import DOWNLOADS
    from fobench.records.files import exists

    found = sorted(root.glob("*.npz")) if exists(root) else []
    click.echo(f"{len(found)} prepared in {root}")
    for path in found:
        try:
            each = open_npz(path)
        except UserError as error:
            click.echo(f"  {printable(path.stem)}: damaged: {'; '.join(error.problems)}")
            continue
        size = "x".join(str(side) for side in each.image_shape)
        click.echo(
            f"  {printable(each.name)}: {len(each.train_images):,} training and "
            f"{len(each.test_images):,} test images, {size}, {len(each.classes):,} classes, "
            f"fingerprint {each.fingerprint}"
        )
        for note in notes_on(each):
            click.echo(f"    {note}")
    for folder in leftovers(root, DOWNLOADS):
        name = folder.name[1:].rpartition("-")[0]
        size = " --image-size N" if DOWNLOADS[name].varies else ""
        click.echo(
            f"left by a killed download: {folder.name}, {size_of(folder) / 1e6:.1f} MB "
            f"(fobench data {name}{size} removes it)"
        )
    stems = {path.stem for path in found}
    others = [
        name
        for name, source in DOWNLOADS.items()
        if name not in stems and not any(source.varies and is_sized(stem, name) for stem in stems)
    ]
    if others:
        click.echo(f"not prepared: {', '.join(others)} (fobench data NAME downloads and prepares)")
    click.echo(f"always available: {', '.join(GENERATED)} (generated)")


def is_sized(stem: str, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(name)}-[0-9]+px", stem) is not None
