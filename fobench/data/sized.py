"""Data sets whose images are resized, once, to `data.image_size`."""

from pathlib import Path

from fobench.data.archive import checksums_of
from fobench.data.dataset import DataSet
from fobench.data.npz import damage_as_message, open_npz
from fobench.data.prepared import (
    Content,
    Part,
    Source,
    find_prepared,
    in_memory,
    open_prepared,
    with_place,
)
from fobench.data.resize import resized_pieces

VERSION = 1  # of how images are resized: a change makes all prepared files out of date


def sized_name(name: str, height: int, width: int) -> str:
    """The name of a set of images of that size."""
    return f"{name}-{height}px" if height == width else f"{name}-{height}x{width}px"


def open_resized(path: Path, root: Path | None, size: int) -> DataSet:
    """The set of an .npz file with images [size, size], prepared beside it, or else in `root`.

    The set itself if its images have that size.

    Raises UserError naming the file and what is wrong with it.
    """
    name = sized_name(path.stem, size, size)
    with damage_as_message(path):
        state = f"checksum {checksums_of(path)}, resized to {size} by version {VERSION}"
    source = resized_from(path, state)
    paths = [path.with_name(f"{name}.npz")]
    if root is not None and root != path.parent:
        paths.append(root / f"{with_place(name, path)}.npz")
    found = find_prepared(name, paths, source)
    if found is not None:
        return found
    dataset = open_npz(path)
    if has_size(dataset, size):
        return dataset
    return open_prepared(name, paths, source, lambda: content_of(source, dataset, size))


def resized_from(path: Path, state: str = "") -> Source:
    """The source of what is prepared beside an .npz file, or under a name that says where it is."""
    return Source(f"{path.name} of", state)


def resized_in_memory(dataset: DataSet, size: int) -> DataSet:
    """The set with images [size, size]; the set itself if they have that size.

    Raises UserError if they do not fit into memory.
    """
    if has_size(dataset, size):
        return dataset
    content = content_of(Source(dataset.name), dataset, size)
    remedy = "lower data.image_size, data.train_size or data.test_size"
    return in_memory(sized_name(dataset.name, size, size), content, remedy)


def has_size(dataset: DataSet, size: int) -> bool:
    return dataset.image_shape[:2] == (size, size)


def content_of(source: Source, dataset: DataSet, size: int) -> Content:
    return Content(
        source,
        (size, size, dataset.image_shape[2]),
        Part(dataset.train_labels, lambda: resized_pieces(dataset.train_images, size)),
        Part(dataset.test_labels, lambda: resized_pieces(dataset.test_images, size)),
        dataset.classes,
    )
