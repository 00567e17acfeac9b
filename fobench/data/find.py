"""Find a data set: a prepared file, or generated. No torch: a dry run need not import it."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fobench.data.dataset import DataSet
from fobench.data.npz import open_npz
from fobench.data.synthetic import RECIPES, open_synthetic
from fobench.errors import UserError
from fobench.records.files import exists

# Generated sets by name; called with the numbers of training and test images, None for default.
GENERATED: dict[str, Callable[[int | None, int | None], DataSet]] = {
    name: partial(open_synthetic, name) for name in RECIPES
}


def data_root(given: str | Path | None = None) -> Path:
    """The folder of prepared sets: as given, else $FOBENCH_DATA, else ~/.cache/fobench."""
    return expand_user(str(given or os.environ.get("FOBENCH_DATA") or "~/.cache/fobench"))


def expand_user(path: str) -> Path:
    """The path with ~ expanded if there is a home (Path.expanduser raises if there is none)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def locate(name: str, root: Path) -> Path:
    """The file of a set given by name or by path (with a folder in it, or ending in .npz)."""
    if name.endswith(".npz") or "/" in name or os.sep in name:
        return expand_user(name)
    return root / f"{name}.npz"


def open_first(
    names: Sequence[str], root: Path, train_size: int | None = None, test_size: int | None = None
) -> DataSet:
    """Open the first of the sets that is available.

    A generated set has `train_size` training images (including those held out) and `test_size`
    test images.

    Raises UserError if none is available, or if the first available one is damaged.
    """
    tried = []
    for name in names:
        if name in GENERATED:
            return GENERATED[name](train_size, test_size)
        path = locate(name, root)
        if exists(path):
            return open_npz(path)
        tried.append(str(path))
    raise UserError(
        f"no data set: {' and '.join(tried)} not found. Prepare it with `fobench data NAME`, put "
        'a prepared .npz there, set --data-root, or add "synthetic" to the list data.dataset'
    )
