"""Data sets downloaded and checked by torchvision, and prepared once."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import numpy as np

from fobench.data.scratch import remove_leftovers, scratch_folder
from fobench.errors import UserError
from fobench.records.files import exists, move

# torchvision's class for each name that can be prepared.
DOWNLOADS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
TIMEOUT = 30.0  # seconds without a byte from the server


def prepare(name: str, root: Path) -> Path:
    """Download a set and write `<root>/<name>.npz`, unless that file exists.

    Removes what killed downloads left in `root`.

    Raises UserError for an unknown name, a download that fails or a folder that cannot be written.
    """
    require_known([name])
    target = root / f"{name}.npz"
    prepared = exists(target)
    remove_leftovers(root, DOWNLOADS)
    if prepared:
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        with scratch_folder(root, name) as scratch:
            arrays = download(name, scratch, target)
            written = scratch / target.name
            with written.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            move(written, target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror}): give another --data-root"
        ) from error
    return target


def require_known(names: Iterable[str]) -> None:
    """Raises UserError naming all names that cannot be prepared."""
    unknown = [name for name in names if name not in DOWNLOADS]
    if unknown:
        raise UserError(
            f"{', '.join(unknown)} cannot be prepared: there are {', '.join(DOWNLOADS)}. synthetic "
            "and your own .npz need no preparation: give data.dataset the name or the path"
        )


def download(name: str, folder: Path, target: Path) -> dict[str, np.ndarray]:
    """The arrays of a prepared set, from torchvision's checked download.

    Raises UserError if the download fails.
    """
    import torchvision.datasets

    source = getattr(torchvision.datasets, DOWNLOADS[name])
    try:
        with socket_timeout(TIMEOUT):
            train, test = (source(folder, train=train, download=True) for train in (True, False))
    except (OSError, RuntimeError, HTTPException) as error:
        raise UserError(
            f"{name} could not be downloaded ({error}). Run `fobench data {name}` on a machine "
            f"with a network and copy its {target.name} to {target}, or put your own there: an "
            ".npz with train_images uint8 [N, H, W, C], train_labels int64 [N], test_images, "
            "test_labels and classes"
        ) from error
    return {
        "train_images": train.data,
        "train_labels": np.asarray(train.targets, np.int64),
        "test_images": test.data,
        "test_labels": np.asarray(test.targets, np.int64),
        "classes": np.asarray(train.classes),
    }


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """The timeout of connections that are made in the block without one of their own.

    torchvision lets none be given, and without one a server that stalls is waited for forever.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
