"""Prepared data sets: found, read and checked; numpy only, so that a plan needs no torch.

A prepared set is one `.npz` with train_images uint8 [N, H, W, C], train_labels int64 [N],
test_images, test_labels and classes: `<data root>/<name>.npz`, or any path. A file of one's own may
also hold grey images [N, H, W], labels [N, 1] of any whole type, and no classes, as MedMNIST's do.
"""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fobench import synthetic
from fobench.errors import UserError
from fobench.files import is_there

SYNTHETIC = "synthetic"
SYNTHETIC_TRAIN, SYNTHETIC_TEST, SYNTHETIC_MOST = 10_000, 2_000, 500_000
MOST_CLASSES = 65_536


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
    return expand_user(str(given or os.environ.get("FOBENCH_DATA") or "~/.cache/fobench"))


def expand_user(path: str) -> Path:
    """The path with ~ as the home, where there is one (Path.expanduser fails where not)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def locate(name: str, root: Path) -> Path:
    """The file of a set given by name or by path (with a folder in it, or ending in .npz)."""
    if name.endswith(".npz") or "/" in name or os.sep in name:
        return expand_user(name)
    return root / f"{name}.npz"


def name_used(used: str, asked: Sequence[str]) -> str:
    """The name of the set used and, if it was not the first asked for, that it was not."""
    return used if used in (asked[0], Path(asked[0]).stem) else f"{used} (for want of {asked[0]})"


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
            sizes = train_size or SYNTHETIC_TRAIN, test_size or SYNTHETIC_TEST
            if max(sizes) > SYNTHETIC_MOST:
                raise UserError(f"{SYNTHETIC} has {SYNTHETIC_MOST:,} images at most: ask for fewer")
            return open_synthetic(*sizes)
        path = locate(name, root)
        if is_there(path):
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


SPLITS = ("train", "test")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def open_npz(path: Path) -> DataSet:
    """Read and check a prepared set.

    Raises UserError naming the file and what is wrong with it.
    """
    arrays = read_arrays(path)
    missing = [key for key in ARRAYS if key not in arrays]
    if missing:
        raise UserError(f"{path} lacks the arrays {', '.join(missing)}")
    problems = []
    for each in SPLITS:
        images = arrays[f"{each}_images"] = with_channels(arrays[f"{each}_images"])
        labels = arrays[f"{each}_labels"] = flat(arrays[f"{each}_labels"])
        problems += image_problems(f"{each}_images", images)
        problems += label_problems(f"{each}_labels", labels, images)
    problems = problems or class_problems(arrays)
    if problems:
        raise UserError(f"{path}: {problem}" for problem in problems)
    train_images, test_images = (arrays[f"{each}_images"] for each in SPLITS)
    train_labels, test_labels = (arrays[f"{each}_labels"].astype(np.int64) for each in SPLITS)
    classes = arrays.get("classes", np.arange(1 + max(train_labels.max(), test_labels.max())))
    return assemble(
        path.stem,
        *(train_images, train_labels, test_images, test_labels),
        classes=[str(each) for each in classes],
    )


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz that a prepared set may hold."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz archive")
        with np.load(path, allow_pickle=False) as file:
            # np.asarray: a member of the archive that is no array is read as bytes.
            return {key: np.asarray(file[key]) for key in (*ARRAYS, "classes") if key in file}
    except MemoryError as error:
        raise UserError(f"{path} is too large for this machine's memory") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give a readable .npz file"
        ) from error
    # A damaged file can make zipfile, zlib and numpy's reader fail in any way they know.
    except Exception as error:
        raise UserError(
            f"{path} is not a readable prepared data set ({error}): it may be cut short or hold "
            "pickled objects; delete it, then make it anew: `fobench data NAME`, or numpy.savez of "
            "plain arrays"
        ) from error


def flat(labels: np.ndarray) -> np.ndarray:
    """Labels [N] from labels [N] or [N, 1]."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def with_channels(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] from grey [N, H, W] too."""
    return images[..., None] if images.ndim == 3 else images


def image_problems(key: str, images: np.ndarray) -> list[str]:
    if images.dtype != np.uint8:
        return [f"{key} are {images.dtype}: uint8 is wanted"]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        return [f"{key} have the shape {images.shape}: [N, H, W] or [N, H, W, 1 or 3] is wanted"]
    return [] if images.size else [f"{key} holds no image: {images.shape}"]


def label_problems(key: str, labels: np.ndarray, images: np.ndarray) -> list[str]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        return [f"{key} are {labels.dtype} {labels.shape}: whole numbers [N] are wanted"]
    if labels.shape != images.shape[:1]:
        return [f"{key} {labels.shape} do not fit images {images.shape}"]
    return []


def class_problems(arrays: dict[str, np.ndarray]) -> list[str]:
    """What does not fit between images, labels and classes that are sound on their own."""
    problems = []
    shapes = [arrays[f"{each}_images"].shape[1:] for each in SPLITS]
    if shapes[0] != shapes[1]:
        problems.append(f"images differ in shape: {shapes[0]} to train, {shapes[1]} to test")
    classes = arrays.get("classes")
    if classes is not None and classes.ndim != 1:
        return [*problems, f"classes has the shape {classes.shape}: a name a class is wanted"]
    count = MOST_CLASSES if classes is None else len(classes)
    for each in SPLITS:
        low, high = arrays[f"{each}_labels"].min(), arrays[f"{each}_labels"].max()
        if not 0 <= low <= high < count:
            problems.append(f"{each}_labels run from {low} to {high}: 0 to {count - 1} are wanted")
    return problems


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
