"""Find a data set: a prepared file, or generated. No torch: a dry run need not import it."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fobench.data.dataset import DataSet
from fobench.data.npz import open_npz
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
    """The file of a set given by name or by path (with a folder in it, or ending in .npz).

    Raises UserError if it lies in a home folder that there is not.
    """
    if name.endswith(".npz") or "/" in name or os.sep in name:
        return expand_user(name)
    return data_root(root) / f"{name}.npz"


def open_first(
    names: Sequence[str],
    root: str | Path | None,
    train_size: int | None = None,
    test_size: int | None = None,
) -> DataSet:
    """Open the first of the sets that is available; `root` is what `data_root` is given.

    A generated set has `train_size` training images (including those held out) and `test_size`
    test images.

    Raises UserError if none is available, or if the first available one is damaged.
    """
    tried, problems = [], []
    for name in names:
        if name in GENERATED:
            return GENERATED[name](train_size, test_size)
        try:
            path = locate(name, root)
        except UserError as error:
            problems += error.problems
            continue
        if exists(path):
            return open_npz(path)
        tried.append(str(path))
    if tried:
        problems.append(
            f"no data set: {' and '.join(tried)} not found. Prepare it with `fobench data NAME`, "
            'put a prepared .npz there, set --data-root, or add "synthetic" to the list '
            "data.dataset"
        )
    raise UserError(problems)
