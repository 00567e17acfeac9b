"""Folders of images: `train/` and `test/` or `val/`, in each a folder a class.

Classes and images are those of torchvision's `ImageFolder`, in its order: classes by name, their
images by folder and name. Names that begin with a dot are skipped.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fobench.data.dataset import DataSet
from fobench.data.parts import first_of
from fobench.data.prepared import Content, Part, Source, open_prepared, with_place
from fobench.data.resize import COLOUR, pieces_of, resized
from fobench.data.sized import VERSION, sized_name
from fobench.errors import UserError, counted

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
TEST_FOLDERS = ("test", "val")  # the first that has classes is used
LAYOUT = "a folder of images has train/ and test/ or val/, and in each a folder for each class"
DEEP = "IF"  # first letters of Pillow's modes with more than 8 bits a channel
AT_ONCE = 256  # images decoded between two pieces of the prepared file


@dataclass(frozen=True)
class Listing:
    """The images of a part: a path below the folder and a class each."""

    files: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class Listed:
    """The images of a folder; `digest` changes with their names, sizes and times of change."""

    classes: tuple[str, ...]
    train: Listing
    test: Listing
    digest: str
    unused: tuple[str, ...]


def open_folder(path: Path, root: Path | None, size: int | None) -> DataSet:
    """The set of a folder of images, prepared in `root`, or in memory without one.

    With a `size`, images are resized to squares; else all must have one size.

    Raises UserError naming the folder and what is wrong with it.
    """
    path = path.resolve() if path.name in ("", "..") else path
    listed = list_folder(path)
    width, height = (size, size) if size else size_of_first(path, listed.train)
    name = sized_name(path.name, height, width)
    state = f"{listed.digest}, {height}x{width}, version {VERSION}"
    source = Source(f"folder {path.resolve()}", state)
    # Folders at other places can have the same name; links to one have one file.
    file = with_place(sized_name(path.resolve().name, height, width), path)
    paths = [root / f"{file}.npz"] if root else []
    dataset = open_prepared(name, paths, source, lambda: content_of(path, listed, source, size))
    return replace(dataset, unused=listed.unused)


def list_folder(path: Path) -> Listed:
    """The classes and images of a folder. Raises UserError with all that is wrong with it."""
    try:
        classes = {part: classes_in(path / part) for part in ("train", *TEST_FOLDERS)}
        test = next((part for part in TEST_FOLDERS if classes[part]), None)
        if test is None or not classes["train"]:
            lacking = ["train"] if not classes["train"] else []
            lacking += [] if test else [" or ".join(TEST_FOLDERS)]
            raise UserError(f"{path} has no classes in {' and in '.join(lacking)}: {LAYOUT}")
        names = tuple(sorted({*classes["train"], *classes[test]}))
        digest, problems = hashlib.sha256(), list[str]()
        train, tested = (list_part(path, part, names, digest) for part in ("train", test))
        for part, listing in (("train", train), (test, tested)):
            problems += class_problems(path / part, names, classes[part], listing)
    except OSError as error:
        raise UserError(
            f"{error.filename or path} cannot be read ({error.strerror}): fix that, or give "
            "another folder"
        ) from error
    if problems:
        raise UserError(problems)
    # As the notes on a set name them.
    unused = tuple(f"{part}_images" for part in TEST_FOLDERS if classes[part] and part != test)
    return Listed(names, train, tested, digest.hexdigest()[:16], unused)


def classes_in(folder: Path) -> list[str]:
    """The names of the folders in a folder; none without it. Raises OSError."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [each.name for each in entries if each.is_dir() and not each.name.startswith(".")]


def list_part(path: Path, part: str, names: Sequence[str], digest: "hashlib._Hash") -> Listing:
    """The images of a part, in ImageFolder's order, added to the digest. Raises OSError."""
    files, labels = [], []
    for label, name in enumerate(names):
        folder = path / part / name
        for parent, here in sorted(folders_in(folder)) if folder.is_dir() else ():
            below = Path(parent).relative_to(path)
            for file in sorted(here):
                if file.lower().endswith(ENDINGS) and not file.startswith("."):
                    status = Path(parent, file).stat()
                    files.append(f"{below}/{file}")
                    labels.append(label)
                    entry = f"{files[-1]}\0{status.st_size} {status.st_mtime_ns}\n"
                    digest.update(entry.encode(errors="surrogateescape"))
    return Listing(tuple(files), np.array(labels, np.int64))


def folders_in(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A folder and those in it, with the names of their files; no hidden ones. Raises OSError."""

    def fail(error: OSError) -> None:
        raise error

    for parent, below, files in os.walk(folder, onerror=fail, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        yield parent, files


def class_problems(
    folder: Path, names: Sequence[str], there: Sequence[str], listing: Listing
) -> Iterator[str]:
    missing = [name for name in names if name not in there]
    if missing:
        yield (
            f"{folder} lacks the classes {first_of(missing)}, which the other part has: give both "
            "the same folders"
        )
    counts = np.bincount(listing.labels, minlength=len(names))
    empty = [names[label] for label in np.flatnonzero(counts == 0) if names[label] not in missing]
    if empty:
        yield (
            f"{folder} has no image of {first_of(empty)}: put images there ({' '.join(ENDINGS)}), "
            "or remove the folders of these classes from both parts"
        )


def size_of_first(path: Path, listing: Listing) -> tuple[int, int]:
    """Width and height of a part's first image. Raises UserError if it cannot be read."""
    first = listing.files[0]
    try:
        with Image.open(path / first) as image:
            return image.size
    # On a damaged file Pillow can raise any exception.
    except Exception as error:
        raise unreadable(path, [f"{first} ({error})"]) from error


def content_of(path: Path, listed: Listed, source: Source, size: int | None) -> Content:
    width, height = (size, size) if size else size_of_first(path, listed.train)
    broken: list[str] = []

    def part(listing: Listing) -> Part:
        starts = range(0, len(listing.files), AT_ONCE)
        read = partial(pixels_of, path, size, (width, height), broken)
        return Part(
            listing.labels,
            lambda: pieces_of(read, (listing.files[at : at + AT_ONCE] for at in starts)),
        )

    def check() -> None:
        if broken:
            raise unreadable(path, sorted(broken))

    train, test = part(listed.train), part(listed.test)
    return Content(source, (height, width, 3), train, test, listed.classes, check)


def pixels_of(
    path: Path, size: int | None, expected: tuple[int, int], broken: list[str], file: str
) -> np.ndarray:
    """An image uint8 [H, W, 3]; black if it cannot be read, which `broken` then tells.

    Raises UserError if it is not of the expected width and height.
    """
    width, height = expected
    try:
        with Image.open(path / file) as image:
            if image.mode[0] in DEEP:
                raise ValueError("more than 8 bits a channel")
            image = image.convert(COLOUR)
            image = image if size is None else resized(image, size)
    except Exception as error:
        broken.append(f"{file} ({error})")
        return np.zeros((height, width, 3), np.uint8)
    if image.size != expected:
        raise UserError(
            f"{path}: images differ in size, {file} is {'x'.join(map(str, image.size))} and the "
            f"first one {width}x{height} pixels wide and high: set data.image_size"
        )
    return np.asarray(image)


def unreadable(path: Path, files: Sequence[str]) -> UserError:
    return UserError(
        f"{path}: {counted(len(files), 'unreadable image')}, {first_of(files)}: restore or remove "
        f"what cannot be read, or save it as {COLOUR} with 8 bits a channel"
    )
