"""A data set: images in memory or in a file, and labels as numpy arrays."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fobench.data.images import Images, chunks, reordered

SHUFFLE_SEED = 0


@dataclass(frozen=True)
class DataSet:
    """Images uint8 [N, H, W, C] in [0, 255] and labels int64 [N], for training and testing.

    `unused` names the arrays of its file that are not read. `constant` are how many training and
    test images have the same colour everywhere, where that is known.
    """

    name: str
    train_images: Images
    train_labels: np.ndarray
    test_images: Images
    test_labels: np.ndarray
    classes: tuple[str, ...]
    fingerprint: str
    unused: tuple[str, ...] = ()
    constant: tuple[int, int] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train_images.shape[1:]

    def shuffled(self) -> "DataSet":
        """The training and the test images in a random order that never changes.

        The fingerprint stays that of the set as it was read.
        """
        train, test = fixed_order(len(self.train_labels)), fixed_order(len(self.test_labels))
        return replace(
            self,
            train_images=reordered(self.train_images, train),
            train_labels=self.train_labels[train],
            test_images=reordered(self.test_images, test),
            test_labels=self.test_labels[test],
        )


def fixed_order(count: int) -> np.ndarray:
    """A permutation of `count` images; numpy guarantees that RandomState's stream never changes."""
    return np.random.RandomState(SHUFFLE_SEED).permutation(count)


def assemble(
    name: str,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    classes: Sequence[str],
    unused: Sequence[str] = (),
) -> DataSet:
    arrays = (train_images, train_labels, test_images, test_labels)
    return DataSet(
        name,
        *arrays,
        classes=tuple(classes),
        fingerprint=fingerprint(*arrays),
        unused=tuple(unused),
    )


def fingerprint(*arrays: np.ndarray) -> str:
    """A hash of the arrays' content, independent of their file's format."""
    return hash_of((array.dtype, array.shape, chunks(array)) for array in arrays)


def hash_of(arrays: Iterable[tuple[np.dtype, tuple[int, ...], Iterable[np.ndarray]]]) -> str:
    """The `fingerprint` of arrays that come in chunks, each with its type and shape."""
    digest = hashlib.sha256()
    for dtype, shape, pieces in arrays:
        digest.update(f"{dtype.str}{shape}".encode())
        for piece in pieces:
            digest.update(np.ascontiguousarray(piece).data)
    return digest.hexdigest()[:16]
