"""A data set as numpy arrays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DataSet:
    """Images uint8 [N, H, W, C] in [0, 255] and labels int64 [N], for training and testing."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train_images.shape[1:]


def assemble(
    name: str,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    classes: Sequence[str],
) -> DataSet:
    arrays = (train_images, train_labels, test_images, test_labels)
    return DataSet(name, *arrays, classes=tuple(classes), fingerprint=fingerprint(*arrays))


def fingerprint(*arrays: np.ndarray) -> str:
    """A hash of the arrays' content, independent of their file's format."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
