"""Images of a data set: an array in memory, or images in a file that are read when needed.

Both have a length and a `shape` [N, H, W, C], and slices of both are of their own kind. What needs
pixels takes them from either with the functions of this module, so that memory stays bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from fobench.data.open_file import OpenFile

CHUNK_BYTES = 16 << 20  # of images that are read, compared or counted at once
FEW = 5  # pixels of each image that are compared first


@dataclass(frozen=True, eq=False)
class FileImages:
    """Images uint8 [N, H, W, C] that lie in a file one behind the other.

    They are read at their place, not mapped into memory: pages of a mapped file count as the
    process's memory, and a file that is cut short would kill it.

    `numbers` int64 [N] say which of the file's images they are, `offset` where its first begins.
    Slices share the open file. An instance can be sent to other processes, which then read the
    file themselves.
    """

    file: OpenFile
    offset: int
    numbers: np.ndarray = field(repr=False)
    image_shape: tuple[int, int, int]

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.numbers), *self.image_shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def image_bytes(self) -> int:
        height, width, channels = self.image_shape
        return height * width * channels

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> "FileImages":
        return replace(self, numbers=self.numbers[part])

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Read the images `indices` [B] into `out` uint8 [B, H, W, C]; from any thread.

        Raises UserError if the file was written to since it was opened, or cannot be read.
        """
        numbers, size = self.numbers[indices], self.image_bytes
        if not len(numbers):
            return
        rows = memoryview(out).cast("B")
        # Images that follow each other are read in one go.
        starts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        for start, end in pairwise(starts):
            place = self.offset + size * int(numbers[start])
            self.file.read_at(place, rows[size * start : size * end])
        self.file.require_unchanged()


Images = np.ndarray | FileImages


def gather(images: Images, indices: np.ndarray, out: np.ndarray) -> None:
    """Copy the images `indices` [B] to `out` [B, H, W, C], by one thread, others run meanwhile."""
    if isinstance(images, FileImages):
        images.read(indices, out)
        return
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(images):
        raise IndexError(f"indices from {indices.min()} to {indices.max()} of {len(images)} images")
    # Any other mode copies twice.
    np.take(images, indices, axis=0, out=out, mode="clip")


def reordered(images: Images, order: np.ndarray) -> Images:
    """The images in that order [N]; those in a file are not read."""
    if isinstance(images, FileImages):
        return replace(images, numbers=images.numbers[order])
    return images[order]


def chunks(images: Images) -> Iterator[np.ndarray]:
    """The images in pieces of about CHUNK_BYTES; a piece can be overwritten when the next comes."""
    size = max(1, CHUNK_BYTES // max(1, int(np.prod(images.shape[1:]))))
    if not isinstance(images, FileImages):
        for start in range(0, len(images), size):
            yield images[start : start + size]
        return
    rows = np.empty((min(size, len(images)), *images.image_shape), np.uint8)
    for start in range(0, len(images), size):
        indices = np.arange(start, min(start + size, len(images)))
        images.read(indices, rows[: len(indices)])
        yield rows[: len(indices)]


def count_constant(images: np.ndarray) -> int:
    """How many of the images [N, H, W, C] have the same colour everywhere."""
    pixels = images.reshape(len(images), -1, images.shape[-1])
    # A few pixels tell most images apart, without reading the whole set.
    few = pixels[:, np.linspace(0, pixels.shape[1] - 1, FEW, dtype=int)]
    alike = pixels[(few == few[:, :1]).all(axis=(1, 2))]
    return int((alike == alike[:, :1]).all(axis=(1, 2)).sum())
