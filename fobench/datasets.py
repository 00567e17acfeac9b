"""Prepared data sets: found, read and checked; numpy only, so that a plan needs no torch.

A prepared set is one `.npz` with train_images uint8 [N, H, W, C], train_labels int64 [N],
test_images, test_labels and classes: `<data root>/<name>.npz`, or any path.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fobench import synthetic
from fobench.errors import UserError

SYNTHETIC = "synthetic"
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 10_000, 2_000


@dataclass(frozen=True)
class DataSet:
    """Images uint8 [N, H, W, C] in [0, 255] and labels int64 [N], for training and for the test."""

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


def data_root(given: str | Path | None = None) -> Path:
    """Where prepared sets lie: as given, else $FOBENCH_DATA, else ~/.cache/fobench."""
    return Path(given or os.environ.get("FOBENCH_DATA") or Path.home() / ".cache" / "fobench")


def locate(name: str, root: Path) -> Path:
    """The file of a set given by name or by path (with a folder in it, or ending in .npz)."""
    if name.endswith(".npz") or "/" in name or os.sep in name:
        return Path(name).expanduser()
    return root / f"{name}.npz"


def open_first(
    names: Sequence[str], root: Path, train_size: int | None = None, test_size: int | None = None
) -> DataSet:
    """The first of the sets that can be had.

    `train_size` (with any held-out images) and `test_size` say how many images are needed at
    least: `synthetic` generates as many.

    Raises UserError if there is none, or if the first there is is damaged.
    """
    tried = []
    for name in names:
        if name == SYNTHETIC:
            return open_synthetic(train_size or SYNTHETIC_TRAIN, test_size or SYNTHETIC_TEST)
        path = locate(name, root)
        if path.exists():
            return open_npz(path)
        tried.append(str(path))
    raise UserError(
        f"no data set: {' and '.join(tried)} not found. Prepare it with `fobench data NAME`, put "
        'a prepared .npz there, set --data-root, or add "synthetic" to the list data.dataset'
    )


def open_synthetic(train_size: int, test_size: int) -> DataSet:
    """The generated set, with so many images."""
    train, test = synthetic.generate("train", train_size), synthetic.generate("test", test_size)
    return assemble(SYNTHETIC, *train, *test, classes=synthetic.CLASSES)


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def open_npz(path: Path) -> DataSet:
    """Read and check a prepared set.

    Raises UserError naming the file and what is wrong with it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ARRAYS if key not in file]
            if missing:
                raise UserError(f"{path} lacks the arrays {', '.join(missing)}")
            arrays = [file[key] for key in ARRAYS]
            classes = file.get("classes")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise UserError(
            f"{path} is not a readable prepared data set ({error}): delete it and prepare it anew"
        ) from error
    train_images, train_labels, test_images, test_labels = arrays
    train_labels, test_labels = flat(train_labels), flat(test_labels)
    if classes is None:
        classes = np.arange(1 + max(train_labels.max(initial=0), test_labels.max(initial=0)))
    problems = [
        *image_problems("train_images", train_images),
        *image_problems("test_images", test_images),
        *label_problems("train_labels", train_labels, len(train_images), len(classes)),
        *label_problems("test_labels", test_labels, len(test_images), len(classes)),
    ]
    if not problems and train_images.shape[1:] != test_images.shape[1:]:
        problems.append(f"train images {train_images.shape[1:]} and test images differ in shape")
    if problems:
        raise UserError(f"{path}: {problem}" for problem in problems)
    return assemble(
        path.stem,
        with_channels(train_images),
        train_labels.astype(np.int64),
        with_channels(test_images),
        test_labels.astype(np.int64),
        classes=[str(each) for each in classes],
    )


def flat(labels: np.ndarray) -> np.ndarray:
    """Labels [N] from labels [N] or [N, 1]."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def with_channels(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] from grey [N, H, W] too."""
    return np.ascontiguousarray(images if images.ndim == 4 else images[..., None])


def image_problems(key: str, images: np.ndarray) -> list[str]:
    if images.dtype != np.uint8:
        return [f"{key} are {images.dtype}: uint8 is wanted"]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        return [f"{key} have the shape {images.shape}: [N, H, W, 1 or 3] is wanted"]
    return [] if len(images) else [f"{key} holds no image"]


def label_problems(key: str, labels: np.ndarray, images: int, classes: int) -> list[str]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        return [f"{key} are {labels.dtype} {labels.shape}: whole numbers [N] are wanted"]
    if len(labels) != images:
        return [f"{key} has {len(labels)} entries for {images} images"]
    if images and not 0 <= labels.min() <= labels.max() < classes:
        return [f"{key} run from {labels.min()} to {labels.max()}, but there are {classes} classes"]
    return []


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
    """A hash of the arrays' content, however their file was written."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
