"""Prepared data sets: one .npz file each, read and checked.

It holds train_images uint8 [N, H, W, C], train_labels int64 [N], test_images, test_labels and
classes. Grey images [N, H, W], labels [N, 1] of any integer type and files without classes, as in
MedMNIST, are accepted too.
"""

import zipfile
from pathlib import Path

import numpy as np

from fobench.data.dataset import DataSet, assemble
from fobench.errors import UserError

MAX_CLASSES = 65_536
SPLITS = ("train", "test")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def open_npz(path: Path) -> DataSet:
    """Read and check a prepared set.

    Raises UserError naming the file and what is wrong with it.
    """
    arrays, unused = read_arrays(path)
    missing = [key for key in ARRAYS if key not in arrays]
    if missing:
        raise UserError(f"{path} lacks the arrays {', '.join(missing)}")
    problems = []
    for each in SPLITS:
        images = arrays[f"{each}_images"] = with_channels(arrays[f"{each}_images"])
        labels = arrays[f"{each}_labels"] = flat_labels(arrays[f"{each}_labels"])
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
        unused=unused,
    )


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an .npz file that belong to a prepared set, and the names of all others."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not an .npz archive")
        with np.load(path, allow_pickle=False) as file:
            # np.asarray: members of the archive that are not arrays are read as bytes.
            arrays = {key: np.asarray(file[key]) for key in (*ARRAYS, "classes") if key in file}
            return arrays, [key for key in file if key not in arrays]
    except MemoryError as error:
        raise UserError(f"{path} is too large for this machine's memory") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give a readable .npz file"
        ) from error
    # On a damaged file zipfile, zlib and numpy can raise any exception.
    except Exception as error:
        raise UserError(
            f"{path} is not a readable prepared data set ({error}): it may be truncated or hold "
            "pickled objects. Check its source and copy it again; write your own with numpy.savez "
            "of plain arrays; one of `fobench data NAME` is downloaded again once you move it away"
        ) from error


def flat_labels(labels: np.ndarray) -> np.ndarray:
    """Labels [N] from labels [N] or [N, 1]."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def with_channels(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] from images [N, H, W, C] or [N, H, W]."""
    return images[..., None] if images.ndim == 3 else images


def image_problems(key: str, images: np.ndarray) -> list[str]:
    if images.dtype != np.uint8:
        return [f"{key} are {images.dtype}: uint8 is required"]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        return [f"{key} have the shape {images.shape}: [N, H, W] or [N, H, W, 1 or 3] is required"]
    return [] if images.size else [f"{key} holds no image: {images.shape}"]


def label_problems(key: str, labels: np.ndarray, images: np.ndarray) -> list[str]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        return [f"{key} are {labels.dtype} {labels.shape}: integers [N] are required"]
    if labels.shape != images.shape[:1]:
        return [f"{key} {labels.shape} do not fit images {images.shape}"]
    return []


def class_problems(arrays: dict[str, np.ndarray]) -> list[str]:
    """Mismatches between images, labels and classes that are valid by themselves."""
    problems = []
    shapes = [arrays[f"{each}_images"].shape[1:] for each in SPLITS]
    if shapes[0] != shapes[1]:
        problems.append(f"images differ in shape: {shapes[0]} in training, {shapes[1]} in test")
    classes = arrays.get("classes")
    if classes is not None and classes.ndim != 1:
        return [*problems, f"classes has the shape {classes.shape}: one name per class is required"]
    count = MAX_CLASSES if classes is None else len(classes)
    for each in SPLITS:
        low, high = arrays[f"{each}_labels"].min(), arrays[f"{each}_labels"].max()
        if not 0 <= low <= high < count:
            problems.append(f"{each}_labels range from {low} to {high}, not 0 to {count - 1}")
    return problems
