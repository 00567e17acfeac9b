"""Data sets fetched through torchvision, checked by its checksums, and prepared once."""

import tempfile
from http.client import HTTPException
from pathlib import Path

import numpy as np

from fobench.errors import UserError

# torchvision's class for each name that can be prepared.
SOURCES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def prepare(name: str, root: Path) -> Path:
    """Download a set and write `<root>/<name>.npz`; where that file is, nothing is done.

    Raises UserError for an unknown name, a download that fails or a folder that cannot be written.
    """
    if name not in SOURCES:
        raise UserError(
            f"{name} cannot be prepared: there are {', '.join(SOURCES)}. Your own set needs no "
            "preparation: give the path of its .npz as data.dataset"
        )
    target = root / f"{name}.npz"
    if target.exists():
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as scratch:
            written = Path(scratch) / target.name
            np.savez(written, **download(name, Path(scratch)))
            written.replace(target)
    except (OSError, RuntimeError, HTTPException) as error:
        raise UserError(
            f"{name} could not be prepared ({error}). Without a network, put {target} there: an "
            ".npz with train_images uint8 [N, H, W, C], train_labels int64 [N], test_images, "
            "test_labels and classes"
        ) from error
    return target


def download(name: str, folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a prepared set, from torchvision's checked download."""
    import torchvision.datasets

    source = getattr(torchvision.datasets, SOURCES[name])
    train, test = (source(folder, train=train, download=True) for train in (True, False))
    return {
        "train_images": train.data,
        "train_labels": np.asarray(train.targets, np.int64),
        "test_images": test.data,
        "test_labels": np.asarray(test.targets, np.int64),
        "classes": np.asarray(train.classes),
    }
