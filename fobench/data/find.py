"""Find a data set: a prepared file, or generated. No torch: a dry run need not import it."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fobench.data.dataset import DataSet
from fobench.data.folder import open_folder
from fobench.data.npz import open_npz
from fobench.data.prepared import download_of, require_origin
from fobench.data.sized import open_resized, resized_from, resized_in_memory, sized_name
from fobench.data.synthetic import RECIPES, open_synthetic
from fobench.errors import UserError
from fobench.machine.home import expand_user
from fobench.records.files import exists

# Generated sets by name; called with the numbers of training and test images, None for default.
GENERATED: dict[str, Callable[[int | None, int | None], DataSet]] = {
    name: partial(open_synthetic, name) for name in RECIPES
}


def data_root(given: str | Path | None = None) -> Path:
    """The folder of prepared sets: as given, else $FOBENCH_DATA, else ~/.cache/fobench.

    Raises UserError if it lies in a home folder that there is not.
    """
    chosen = given or os.environ.get("FOBENCH_DATA")
    try:
        return expand_user(chosen or "~/.cache/fobench")
    except UserError as error:
        if chosen:
            raise
        raise UserError(
            "the default folder of data sets, ~/.cache/fobench, needs a home folder, and this "
            "user has none: set HOME or FOBENCH_DATA, or give --data-root"
        ) from error


def locate(name: str, root: str | Path | None) -> Path:
    """The file or folder of a set given by name or path (with a folder in it, or ending in .npz).

    "." and ".." are paths, too.

    A name stands for a file in the data root, or, if there is none, for a folder of images there.

    Raises UserError if it lies in a home folder that there is not.
    """
    if name.endswith(".npz") or "/" in name or os.sep in name or name in (os.curdir, os.pardir):
        return expand_user(name)
    file, folder = data_root(root) / f"{name}.npz", data_root(root) / name
    return folder if not exists(file) and exists(folder) and folder.is_dir() else file


def open_first(
    names: Sequence[str],
    root: str | Path | None,
    train_size: int | None = None,
    test_size: int | None = None,
    image_size: int | None = None,
) -> DataSet:
    """Open the first of the sets that is available; `root` is what `data_root` is given.

    A generated set has `train_size` training images (including those held out) and `test_size`
    test images. Images are resized to squares of `image_size` pixels per side.

    Raises UserError if none is available, or if the first available one is damaged.
    """
    tried, problems = [], []
    for name in names:
        if name in GENERATED:
            generated = GENERATED[name](train_size, test_size)
            return generated if image_size is None else resized_in_memory(generated, image_size)
        try:
            path = locate(name, root)
        except UserError as error:
            problems += error.problems
            continue
        if exists(path):
            return open_path(path, root, image_size)
        # What `fobench data NAME --image-size` makes of a set whose images vary in size.
        if image_size and path.suffix == ".npz":
            sized = path.with_name(f"{sized_name(path.stem, image_size, image_size)}.npz")
            if exists(sized):
                require_origin(sized, download_of(path.stem), resized_from(path))
                return open_npz(sized)
        tried.append(str(path))
        if Path(name).is_dir():
            problems.append(f"{name}: for the folder of that name here, give ./{name}")
    if tried:
        size = f" --image-size {image_size}" if image_size else ""
        problems.append(
            f"no data set: {' and '.join(tried)} not found. Prepare it with "
            f"`fobench data NAME{size}`, "
            'put a prepared .npz there, set --data-root, or add "synthetic" to the list '
            "data.dataset"
        )
    raise UserError(problems)


def open_path(path: Path, root: str | Path | None, image_size: int | None) -> DataSet:
    """The set of an .npz file or of a folder of images, of that size if one is given."""
    try:
        prepared_in = data_root(root)
    except UserError:  # without a home
        prepared_in = None
    if path.is_dir():
        return open_folder(path, prepared_in, image_size)
    if image_size is None:
        return open_npz(path)
    return open_resized(path, prepared_in, image_size)
