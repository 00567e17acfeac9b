"""A data set as numpy arrays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

SHUFFLE_SEED = 0


@dataclass(frozen=True)
class DataSet:
    """Images uint8 [N, H, W, C] in [0, 255] and labels int64 [N], for training and testing.

    `unused` names the arrays of its file that are not read.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    fingerprint: str
    unused: tuple[str, ...] = ()

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
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            test_images=self.test_images[test],
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
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
