"""Prepared data sets: one .npz file each, read and checked.

It holds train_images uint8 [N, H, W, C], train_labels int64 [N], test_images, test_labels and
classes. Grey images [N, H, W], labels [N, 1] of any integer type and files without classes, as in
MedMNIST, are accepted too. What fobench prepared itself has `source` too, by which a file that is
not up to date is noticed.
"""

import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fobench.data.archive import facts_of, images_in
from fobench.data.dataset import DataSet, assemble
from fobench.data.images import FileImages, Images
from fobench.data.open_file import OpenFile
from fobench.errors import UserError
from fobench.machine.host_memory import available_host_memory

# Images that take more of the free memory than this share stay in the file: a copy of them, padded,
# is trained on.
MEMORY_SHARE = 0.25
MAX_CLASSES = 65_536
SPLITS = ("train", "test")
IMAGES = ("train_images", "test_images")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
OTHERS = ("classes", "source")


def open_npz(path: Path, in_file: bool | None = None) -> DataSet:
    """Read and check a prepared set.

    The images stay in the file if they are large for the memory, or if `in_file` says so; they must
    not be compressed for that. The file is opened once: another one can take its place meanwhile.

    Raises UserError naming the file and what is wrong with it.
    """
    with damage_as_message(path):
        file = OpenFile(path)
        arrays, unused = read_arrays(file, in_file)
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
    content = (train_images, train_labels, test_images, test_labels)
    names = tuple(str(each) for each in classes)
    if not any(isinstance(images, FileImages) for images in (train_images, test_images)):
        return assemble(path.stem, *content, classes=names, unused=unused)
    with damage_as_message(path):
        facts = facts_of(file, *content)
    return DataSet(path.stem, *content, names, facts.fingerprint, tuple(unused), facts.constant)


def read_arrays(file: OpenFile, in_file: bool | None) -> tuple[dict[str, Images], list[str]]:
    """The arrays of an .npz file that belong to a prepared set, and the names of all others.

    Raises MemoryError if they do not fit into memory. Damaged files can raise any exception.
    """
    with file.reader() as reader:
        if not zipfile.is_zipfile(reader):
            raise ValueError("it is not an .npz archive")
        if in_file is None:
            size, _ = file.stamp
            in_file = size > MEMORY_SHARE * available_host_memory()[0]
        left = images_in(file, IMAGES) if in_file else {}
        reader.seek(0)
        with np.load(reader, allow_pickle=False) as archive:
            require_memory(archive.zip, [key for key in IMAGES if key not in left])
            # np.asarray: members of the archive that are not arrays are read as bytes.
            arrays = left | {
                key: np.asarray(archive[key])
                for key in (*ARRAYS, *OTHERS)
                if key in archive and key not in left
            }
            return arrays, [key for key in archive if key not in arrays]


def require_memory(archive: zipfile.ZipFile, keys: Container[str]) -> None:
    """Raises MemoryError if these arrays do not fit into memory.

    Linux grants memory that there is not, and kills a process that then uses it.
    """
    members = archive.infolist()
    size = sum(each.file_size for each in members if each.filename.removesuffix(".npy") in keys)
    if size > available_host_memory()[0]:
        raise MemoryError


@contextmanager
def damage_as_message(path: Path) -> Iterator[None]:
    """Turn what reading the file in the block raises into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"{path} is too large for this machine's memory: write it uncompressed, with "
            "numpy.savez, and its images are read as they are needed"
        ) from error
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


def with_channels(images: Images) -> Images:
    """Images [N, H, W, C] from images [N, H, W, C] or [N, H, W]."""
    return images[..., None] if len(images.shape) == 3 else images


def image_problems(key: str, images: Images) -> list[str]:
    if images.dtype != np.uint8:
        return [f"{key} are {images.dtype}: uint8 is required"]
    if len(images.shape) != 4 or images.shape[3] not in (1, 3):
        return [f"{key} have the shape {images.shape}: [N, H, W] or [N, H, W, 1 or 3] is required"]
    return [] if all(images.shape) else [f"{key} holds no image: {images.shape}"]


def label_problems(key: str, labels: np.ndarray, images: Images) -> list[str]:
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
