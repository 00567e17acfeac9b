"""Data sets downloaded and checked by torchvision, and prepared once."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fobench.data.prepared import Content, Part, download_of, require_origin, write_content
from fobench.data.resize import COLOUR, GREY, pieces_of, resized
from fobench.data.scratch import remove_leftovers, scratch_folder
from fobench.data.sized import open_resized, sized_name
from fobench.data.torchvision_sets import DOWNLOADS
from fobench.errors import UserError
from fobench.records.files import exists, move

TIMEOUT = 30.0  # seconds without a byte from the server
AT_ONCE = 256  # images decoded between two pieces of the prepared file


def prepare(name: str, root: Path, image_size: int | None = None) -> Path:
    """Download a set and write `<root>/<name>.npz`, unless that file exists.

    With an `image_size`, `<root>/<name>-<size>px.npz` is written, too, or alone for sets whose
    images differ in size. Removes what killed downloads left in `root`.

    Raises UserError for an unknown name, a download that fails or a folder that cannot be written.
    """
    require_known([name], image_size)
    varies = DOWNLOADS[name].varies
    target = root / f"{sized_name(name, image_size, image_size) if varies else name}.npz"
    is_there = exists(target)
    remove_leftovers(root, DOWNLOADS)
    if is_there:
        require_origin(target, download_of(name))
    else:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with scratch_folder(root, name) as scratch:
                content = download(name, scratch, target, image_size if varies else None)
                write_content(scratch / target.name, content)
                move(scratch / target.name, target)
        except OSError as error:
            raise UserError(
                f"{target} cannot be written ({error.strerror}): give another --data-root"
            ) from error
    if varies or image_size is None:
        return target
    resized = root / f"{open_resized(target, root, image_size).name}.npz"
    if not exists(resized):  # then they were resized in memory, and a warning said why
        raise UserError(f"{resized} cannot be written: give another --data-root, with room for it")
    return resized


def require_known(names: Iterable[str], image_size: int | None = None) -> None:
    """Raises UserError naming all names that cannot be prepared, or not without a size."""
    unknown = [name for name in names if name not in DOWNLOADS]
    problems = []
    if unknown:
        problems.append(
            f"{', '.join(unknown)} cannot be prepared: there are {', '.join(DOWNLOADS)}. synthetic "
            "and your own .npz need no preparation: give data.dataset the name or the path"
        )
    if image_size is None:
        problems += [
            f"the images of {name} differ in size: give --image-size, such as --image-size 64"
            for name in names
            if name not in unknown and DOWNLOADS[name].varies
        ]
    if problems:
        raise UserError(problems)


def download(name: str, folder: Path, target: Path, image_size: int | None = None) -> Content:
    """The content of a prepared set, from torchvision's checked download in `folder`.

    Raises UserError if the download fails.
    """
    import torchvision.datasets

    asked = DOWNLOADS[name]
    source = getattr(torchvision.datasets, asked.name)
    try:
        with socket_timeout(TIMEOUT):
            train = [source(folder, **options, download=True) for options in asked.train]
            test = source(folder, **asked.test, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        size = f" --image-size {image_size}" if image_size else ""
        raise UserError(
            f"{name} could not be downloaded ({error}). Run `fobench data {name}{size}` on a "
            f"machine with a network and copy its {target.name} to {target}, or put your own "
            "there: an .npz with train_images uint8 [N, H, W, C], train_labels int64 [N], "
            "test_images, test_labels and classes"
        ) from error
    parts = part_of(train, image_size), part_of([test], image_size)
    shape = shape_of(train[0], image_size)
    return Content(download_of(name), shape, *parts, classes_of(train[0]))


def is_in_memory(images: Any) -> bool:
    """Whether a set has its images as one array [N, H, W] or [N, H, W, C], beside the labels."""
    return hasattr(images, "data") and hasattr(images, "targets")


def part_of(sets: Sequence[Any], image_size: int | None) -> Part:
    """The images of sets of torchvision, one set behind the other."""
    if image_size is None and all(map(is_in_memory, sets)):
        labels = np.concatenate([np.asarray(each.targets, np.int64) for each in sets])
        return Part(labels, lambda: (np.asarray(each.data) for each in sets))
    places = [(each, number) for each in sets for number in range(len(each))]
    # Known once the images are.
    labels = np.zeros(len(places), np.int64)

    def read(place: int) -> np.ndarray:
        each, number = places[place]
        image, labels[place] = each[number]
        return pixels_of(image, image_size)

    starts = range(0, len(places), AT_ONCE)
    groups = (range(at, min(at + AT_ONCE, len(places))) for at in starts)
    return Part(labels, lambda: pieces_of(read, groups))


def pixels_of(image: Image.Image, image_size: int | None) -> np.ndarray:
    """An image of PIL uint8 [H, W, C], in colour where it is resized."""
    if image_size is not None:
        return np.asarray(resized(image.convert(COLOUR), image_size))
    image = image if image.mode == GREY else image.convert(COLOUR)
    return np.asarray(image).reshape(image.height, image.width, -1)


def shape_of(images: Any, image_size: int | None) -> tuple[int, int, int]:
    if image_size is not None:
        return image_size, image_size, 3
    if is_in_memory(images):
        return (*images.data.shape[1:3], images.data.shape[3] if images.data.ndim == 4 else 1)
    return pixels_of(images[0][0], None).shape


def classes_of(images: Any) -> list[str]:
    """The names of the classes, the first of each if there are several; none for some sets."""
    names = getattr(images, "classes", [])
    return [each if isinstance(each, str) else each[0] for each in names]


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
