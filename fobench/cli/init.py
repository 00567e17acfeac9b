"""`fobench init`: a config to start from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench.cli.messages import errors_as_messages
from fobench.cli.shared_options import UserPath, data_root_option
from fobench.errors import UserError

if TYPE_CHECKING:
    from fobench.data.dataset import DataSet
    from fobench.models import NetworkOptions

# Images up to this size lose too much in a stem made for large ones.
SMALL_IMAGES = 64


@click.command()
@click.argument("name", required=False)
@click.option(
    "--list", "list_configs", is_flag=True, help="List the configs that come with fobench."
)
@click.option(
    "--model",
    metavar="NETWORK",
    help="A network, such as timm:convnext_atto, torchvision:resnet18 or ./mynet.py:Net.",
)
@click.option(
    "--data", "dataset", metavar="DATA", help="Its images: a name, a folder or an .npz file."
)
@click.option("--image-size", type=click.IntRange(min=4), help="Resize the images of --data.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of --model, such as model.options={depth=2}.",
)
@data_root_option
@click.option(
    "-o",
    "--output",
    type=UserPath(dir_okay=False),
    help="The config to write.  [default: named after NAME or NETWORK, here]",
)
def init(
    name: str | None,
    list_configs: bool,
    model: str | None,
    dataset: str | None,
    image_size: int | None,
    overrides: tuple[str, ...],
    data_root: Path | None,
    output: Path | None,
) -> None:
    """Write a config to start from, with all other options as comments.

    That of NAME, a config that comes with fobench, such as quick/densenet; or, with --model and
    --data, one for a network and images of your own.
    """
    from fobench.experiment.packaged_configs import names_of_configs, packaged_config
    from fobench.experiment.starter_config import starter_config
    from fobench.records.files import exists, make_folder, write_bytes

    with errors_as_messages():
        if model == "" or dataset == "":
            raise UserError("--model and --data: give a network and a data set, not empty texts")
        if (model is None) != (dataset is None) or (model and name):
            raise UserError("give NAME, or both --model and --data, or none of them")
        if image_size and model is None:
            raise UserError("--image-size: it is for --data; give both --model and --data")
        if overrides and model is None:
            raise UserError("--set: it is for --model; change the config that is written instead")
        if list_configs:
            if output is not None:
                raise UserError("--list and -o: give one of them")
            click.echo("\n".join(names_of_configs()))
            return
        if model:
            options = network_options(model, overrides)
            path = output or Path(f"{options.slug()}.toml")
        else:
            config = packaged_config(name or "quick/densenet")
            path = output or Path(config.name)
        if exists(path):
            raise UserError(f"{path} exists already: give another file with -o, or remove it")
        if model:
            base = config_for(options, dataset, image_size, data_root, path.stem)
        else:
            base = config.read_text(encoding="utf-8")
        text = starter_config(base, path.stem)
        make_folder(path.parent)
        write_bytes(path, text.encode())
        click.echo(path)
        click.echo(
            f"fobench schema -o {path.parent / 'fobench.schema.json'} enables completion "
            "and checks in editors.",
            err=True,
        )


def network_options(model: str, overrides: Sequence[str] = ()) -> "NetworkOptions":
    """The network of that name, with `model.key=value` overrides.

    Raises UserError for what has none.
    """
    from fobench.experiment.config import apply_overrides, read_model

    tables = {"model": {"name": model}}
    problems = apply_overrides(tables, overrides)
    if tables["model"]["name"] != model:
        problems.append("--set model.name: give the network as --model alone")
    problems += [
        f"--set {table}.…: give options of [model] alone; change the others in the config"
        for table in tables
        if table != "model"
    ]
    options, wrong = read_model(tables)
    if options is None or problems:
        raise UserError(problems + wrong)
    return options


def config_for(
    options: "NetworkOptions",
    dataset: str,
    image_size: int | None,
    data_root: Path | None,
    name: str,
) -> str:
    """The text of a config that was found to run: the network is built for the images."""
    from fobench.data.find import open_first
    from fobench.data.parts import is_grouped
    from fobench.experiment.suggested_config import Known, suggested_config

    images = open_first((dataset,), data_root, image_size=image_size)
    shape, classes = images.image_shape, len(images.classes)
    stem_stride = stem_for(options, images)
    if stem_stride:
        options = options.replace(stem_stride=stem_stride)
    options.require_buildable(classes, shape)
    network = options.build_on_meta(classes, shape)
    known = Known(
        data=dataset,
        train_images=len(images.train_images),
        image_size=image_size,
        is_sorted=is_grouped(images.train_labels),
        model={"name": options.name} | options.non_defaults(),
        has_batchnorm=any("BatchNorm" in type(each).__name__ for each in network.modules()),
    )
    return suggested_config(name, known)


def stem_for(options: "NetworkOptions", images: "DataSet") -> int | None:
    """1 for convolutional networks whose stem would leave too little of small images."""
    height, width, _ = images.image_shape
    if getattr(options, "stem_stride", 1) is not None or max(height, width) > SMALL_IMAGES:
        return None
    from torch import nn

    try:
        changed = options.replace(stem_stride=1)
        network = changed.build_on_meta(len(images.classes), images.image_shape)
    except UserError:
        return None
    # The patches of a transformer are no stem.
    return 1 if any(isinstance(each, nn.BatchNorm2d) for each in network.modules()) else None
