"""Data sets prepared once, in a file that later runs use as long as its source has not changed."""

import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fobench.data.archive import format_size, write_archive
from fobench.data.dataset import DataSet, assemble
from fobench.data.npz import open_npz
from fobench.data.scratch import remove_leftovers, scratch_folder
from fobench.errors import UserError, printable
from fobench.machine.host_memory import available_host_memory
from fobench.machine.lock import hold_folder, release_folder
from fobench.records.files import exists, move

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Source:
    """What a prepared file is made of: `origin` says of what, `state` changes with its content."""

    origin: str
    state: str = ""

    def __str__(self) -> str:
        return f"{self.origin} {self.state}".rstrip()

    def is_origin_of(self, found: str) -> bool:
        """Whether a file that says it was made of `found` has this origin, in whatever state."""
        return f"{found} ".startswith(f"{self.origin} ")


@dataclass(frozen=True)
class Part:
    """Labels int64 [N], and a call that makes the N images, in pieces uint8 [n, H, W, C].

    The labels can be filled in while the images are made.
    """

    labels: np.ndarray
    pieces: Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Content:
    """What a prepared file is to hold.

    `check` is called once all images are made, and raises a UserError if some could not be.
    """

    source: Source
    image_shape: tuple[int, int, int]
    train: Part
    test: Part
    classes: Sequence[str]  # none if labels are all there is
    check: Callable[[], None] = lambda: None

    @property
    def parts(self) -> dict[str, Part]:
        return {"train": self.train, "test": self.test}

    @property
    def bytes(self) -> int:
        count = sum(len(part.labels) for part in self.parts.values())
        return count * int(np.prod(self.image_shape))


def open_prepared(
    name: str, paths: Sequence[Path], source: Source, content: Callable[[], Content]
) -> DataSet:
    """The set of that name in the first of these files that is there or can be written.

    `content` is called if none is made of that source. Where no file can be written, the images
    are prepared in memory.

    Raises UserError if they cannot be prepared, or if a file is of another origin.
    """
    found = find_prepared(name, paths, source)
    if found is not None:
        return found
    made = content()
    for path in paths:
        try:
            return replace(open_npz(write_prepared(path, made)), name=name)
        except OSError as error:
            log.warning("%s cannot be written (%s)", path, error.strerror)
    log.warning(
        "%s: %s of images are prepared in memory, each time anew", name, format_size(made.bytes)
    )
    return in_memory(
        name, made, "give a --data-root that can be written and has room, for a file of them"
    )


def find_prepared(name: str, paths: Iterable[Path], source: Source) -> DataSet | None:
    """The set of that name in the first of these files that is made of the source, if one is."""
    path = next((each for each in paths if source_of(each) == str(source)), None)
    return None if path is None else replace(open_npz(path), name=name)


def is_up_to_date(path: Path, source: Source) -> bool:
    """Whether a prepared file is there and made of that source.

    Raises UserError if the file is of another origin, and so nothing to replace.
    """
    if not exists(path):
        return False
    found = source_of(path)
    if found is None or not source.is_origin_of(found):
        raise in_the_way(path, found)
    return found == str(source)


def require_origin(path: Path, *origins: Source) -> None:
    """Raises UserError for a file that fobench prepared from something else.

    One that it did not prepare is accepted: somebody has put it there.
    """
    found = source_of(path)
    if found is not None and not any(each.is_origin_of(found) for each in origins):
        raise in_the_way(path, found)


def in_the_way(path: Path, found: str | None) -> UserError:
    """The error for a file that takes the place of a prepared one; `found` is its source."""
    reason = "it is damaged, or fobench did not prepare it"
    if found is not None:
        reason = f"it was prepared from something else ({printable(found)})"
    return UserError(
        f"{path} is in the way: {reason}. Move it away, or give its path as data.dataset without "
        "data.image_size"
    )


def source_of(path: Path) -> str | None:
    """What a prepared file says it was made of; None for other files."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["source"])
    # On a damaged file zipfile, zlib and numpy can raise any exception.
    except Exception:
        return None


def download_of(name: str) -> Source:
    return Source(f"download of {name}")


def with_place(name: str, path: Path) -> str:
    """A name for what is prepared from `path` in a folder where others have that name."""
    return f"{name}-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]}"


def write_prepared(path: Path, content: Content) -> Path:
    """Write the file, unless another process does meanwhile. Raises OSError or UserError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with folder_locked(path.parent):
        if is_up_to_date(path, content.source):
            return path
        remove_leftovers(path.parent, [path.stem])
        # Before all images are made in vain.
        if shutil.disk_usage(path.parent).free < content.bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        log.info("preparing %s, %s of images", path, format_size(content.bytes))
        began = time.monotonic()
        with scratch_folder(path.parent, path.stem) as scratch:
            write_content(scratch / path.name, content)
            move(scratch / path.name, path)
        log.info("prepared %s in %.0f s", path, time.monotonic() - began)
    return path


def write_content(path: Path, content: Content) -> None:
    """Write the file. Raises OSError, or UserError if some images cannot be made."""
    images = {
        f"{key}_images": ((len(part.labels), *content.image_shape), logged(key, part))
        for key, part in content.parts.items()
    }
    labels = {f"{key}_labels": part.labels for key, part in content.parts.items()}
    classes = {"classes": np.array(content.classes)} if content.classes else {}
    write_archive(path, images, labels | classes | {"source": np.array(str(content.source))})
    content.check()


def logged(key: str, part: Part) -> Iterator[np.ndarray]:
    """The pieces of a part's images; says how far it is every ten seconds."""
    done, last = 0, time.monotonic()
    for piece in part.pieces():
        yield piece
        done, now = done + len(piece), time.monotonic()
        if now - last > LOG_SECONDS:
            last = now
            log.info("%s images: %s of %s", key, f"{done:,}", f"{len(part.labels):,}")


def in_memory(name: str, content: Content, remedy: str) -> DataSet:
    """The set without a file.

    Raises UserError, with the remedy, if its images do not fit into memory.
    """
    # Linux grants memory that there is not, and kills a process that then uses it.
    if content.bytes > available_host_memory()[0]:
        raise UserError(
            f"{name}: {format_size(content.bytes)} of images do not fit into memory: {remedy}"
        )
    arrays: list[np.ndarray] = []
    for part in content.parts.values():
        images = np.empty((len(part.labels), *content.image_shape), np.uint8)
        start = 0
        for piece in part.pieces():
            images[start : start + len(piece)] = piece
            start += len(piece)
        arrays += [images, part.labels]
    content.check()
    return assemble(name, *arrays, classes=content.classes)


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Lock a folder for the block, after waiting for processes that have.

    Where it cannot be locked, the block runs without.
    """
    descriptor = None
    with suppress(OSError):
        descriptor = hold_folder(folder)
        if descriptor is None:
            log.info("waiting for another process that prepares data in %s", folder)
        while descriptor is None:
            time.sleep(POLL_SECONDS)
            descriptor = hold_folder(folder)
    try:
        yield
    finally:
        if descriptor is not None:
            release_folder(folder, descriptor)
