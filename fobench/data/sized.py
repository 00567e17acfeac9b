"""Data sets whose images are resized, once, to `data.image_size`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fobench.data.dataset import DataSet, assemble
from fobench.data.images import stamp_of
from fobench.data.npz import open_npz
from fobench.data.prepared import Content, Part, is_up_to_date, open_prepared
from fobench.data.resize import resized_pieces

VERSION = 1  # of how images are resized: a change makes all prepared files out of date


def sized_name(name: str, height: int, width: int) -> str:
    """The name of a set of images of that size."""
    return f"{name}-{height}px" if height == width else f"{name}-{height}x{width}px"


def open_resized(path: Path, folders: Iterable[Path], size: int) -> DataSet:
    """The set of an .npz file with images [size, size], prepared in the first folder that it can.

    The set itself if its images have that size.

    Raises UserError naming the file and what is wrong with it.
    """
    folders, name = list(folders), sized_name(path.stem, size, size)
    bytes_, changed = stamp_of(path.stat())
    source = f"{path.name} of {bytes_} bytes, {changed}, resized to {size} by version {VERSION}"
    for folder in folders:
        if is_up_to_date(prepared := folder / f"{name}.npz", source):
            return open_npz(prepared)
    dataset = open_npz(path)
    if has_size(dataset, size):
        return dataset
    return open_prepared(name, folders, source, lambda: content_of(source, dataset, size))


def resized_in_memory(dataset: DataSet, size: int) -> DataSet:
    """The set with images [size, size]; the set itself if they have that size."""
    if has_size(dataset, size):
        return dataset
    train, test = (
        np.concatenate(list(resized_pieces(images, size)))
        for images in (dataset.train_images, dataset.test_images)
    )
    return assemble(
        sized_name(dataset.name, size, size),
        *(train, dataset.train_labels, test, dataset.test_labels),
        classes=dataset.classes,
    )


def has_size(dataset: DataSet, size: int) -> bool:
    return dataset.image_shape[:2] == (size, size)


def content_of(source: str, dataset: DataSet, size: int) -> Content:
    return Content(
        source,
        (size, size, dataset.image_shape[2]),
        Part(dataset.train_labels, lambda: resized_pieces(dataset.train_images, size)),
        Part(dataset.test_labels, lambda: resized_pieces(dataset.test_images, size)),
        dataset.classes,
    )
