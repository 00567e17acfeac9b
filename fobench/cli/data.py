"""`fobench data`: list and prepare data sets."""

from pathlib import Path

import click

from fobench.cli.messages import errors_as_messages
from fobench.cli.shared_options import data_root_option
from fobench.errors import UserError


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@data_root_option
def data(names: tuple[str, ...], data_root: Path | None) -> None:
    """Prepare the data sets NAME (cifar10, cifar100); without a name, list what is prepared."""
    from fobench.data.download import prepare, require_known
    from fobench.data.find import data_root as root_of

    root = root_of(data_root)
    with errors_as_messages():
        require_known(names)
        for name in names:
            click.echo(prepare(name, root))
        if not names:
            print_prepared(root)


def print_prepared(root: Path) -> None:
    from fobench.data.download import DOWNLOADS
    from fobench.data.find import GENERATED
    from fobench.data.npz import open_npz

    found = sorted(root.glob("*.npz"))
    click.echo(f"{len(found)} prepared in {root}")
    for path in found:
        try:
            each = open_npz(path)
        except UserError as error:
            click.echo(f"  {path.stem}: damaged: {'; '.join(error.problems)}")
            continue
        size = "x".join(str(side) for side in each.image_shape)
        click.echo(
            f"  {each.name}: {len(each.train_images):,} training and {len(each.test_images):,} "
            f"test images, {size}, {len(each.classes)} classes, fingerprint {each.fingerprint}"
        )
    others = [name for name in DOWNLOADS if root / f"{name}.npz" not in found]
    if others:
        click.echo(f"not prepared: {', '.join(others)} (fobench data NAME downloads and prepares)")
    click.echo(f"always available: {', '.join(GENERATED)} (generated)")
