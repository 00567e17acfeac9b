"""The .npz archives of data sets: images read at their place, or written piece by piece.

`numpy.savez` stores arrays uncompressed, so that an image lies in one piece at a known place.
"""

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from fobench.data.dataset import hash_of
from fobench.data.images import FileImages, Images, chunks, count_constant
from fobench.data.open_file import OpenFile
from fobench.errors import UserError
from fobench.records.files import write_json

log = logging.getLogger(__name__)

LOCAL_HEADER = 30  # bytes in front of a member's name, in its local header
LENGTHS = slice(26, 28), slice(28, 30)  # there, of the name and of what follows it
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class Facts:
    """What is kept about a large file beside it, since all of it must be read to find it out."""

    identity: tuple[int, ...]  # of the file
    fingerprint: str
    constant: tuple[int, int]  # training and test images of one colour


def images_in(opened: OpenFile, keys: Iterable[str]) -> dict[str, FileImages]:
    """Those of the arrays that can be read at their place in an .npz file.

    They are uint8 [N, H, W, C] or [N, H, W], not empty, not compressed, in C order. Damaged files
    can raise any exception.
    """
    found = {}
    with opened.reader() as file, zipfile.ZipFile(file) as archive:
        members = archive.namelist()
        for key in (key for key in keys if f"{key}.npy" in members):
            info = archive.getinfo(f"{key}.npy")
            if info.compress_type != zipfile.ZIP_STORED:
                continue
            with archive.open(info) as member:
                version = npy.read_magic(member)
                if version not in HEADERS:
                    continue
                shape, fortran, dtype = HEADERS[version](member)
                header = member.tell()
            file.seek(info.header_offset)
            local = file.read(LOCAL_HEADER)
            name, extra = (int.from_bytes(local[each], "little") for each in LENGTHS)
            size = int(np.prod(shape, dtype=object))
            if dtype != np.uint8 or fortran or len(shape) not in (3, 4) or not size:
                continue
            if header + size != info.file_size:
                raise ValueError(f"{key} has not the {size:,} pixels of its shape")
            found[key] = FileImages(
                opened,
                info.header_offset + LOCAL_HEADER + name + extra + header,
                np.arange(shape[0]),
                (*shape[1:], *([1] if len(shape) == 3 else [])),
            )
    return found


def checksums_of(path: Path) -> str:
    """A hash of the checksums that an archive has of its arrays; it changes with their content.

    Damaged files can raise any exception.
    """
    with zipfile.ZipFile(path) as archive:
        known = sorted((each.filename, each.file_size, each.CRC) for each in archive.infolist())
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def facts_of(
    file: OpenFile,
    train: Images,
    train_labels: np.ndarray,
    test: Images,
    test_labels: np.ndarray,
) -> Facts:
    """The facts about a file whose images are not all read; found out once, and kept beside it.

    Raises ValueError if pixels are not those that were written, by the archive's checksums.
    """
    path, identity = file.path, file.identity
    beside = path.with_name(f".{path.name}.fingerprint")
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(beside.read_bytes())
        if tuple(kept["identity"]) == identity:
            return Facts(identity, kept["fingerprint"], tuple(kept["constant"]))
    total = sum(int(np.prod(images.shape)) for images in (train, test))
    log.info("%s: reading %s of images once, for their fingerprint", path, format_size(total))
    constant = {"train_images": 0, "test_images": 0}

    def watched(key: str, images: Images) -> Iterator[np.ndarray]:
        checked = verified(key, images) if isinstance(images, FileImages) else chunks(images)
        for piece in checked:
            constant[key] += count_constant(piece)
            yield piece

    fingerprint = hash_of(
        [
            (train.dtype, train.shape, watched("train_images", train)),
            (train_labels.dtype, train_labels.shape, [train_labels]),
            (test.dtype, test.shape, watched("test_images", test)),
            (test_labels.dtype, test_labels.shape, [test_labels]),
        ]
    )
    facts = Facts(identity, fingerprint, (constant["train_images"], constant["test_images"]))
    # In a folder that cannot be written it is found out again each time.
    with suppress(UserError):
        write_json(beside, asdict(facts))
    return facts


def verified(key: str, images: FileImages) -> Iterator[np.ndarray]:
    """The images' chunks. Raises ValueError at their end if the checksum is not theirs."""
    with images.file.reader() as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as member:
            header = member.read(info.file_size - int(np.prod(images.shape)))
    checksum = zlib.crc32(header)
    for piece in chunks(images):
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if checksum != info.CRC:
        raise ValueError(f"the checksum of {key} is not that of its pixels")


def write_archive(
    path: Path,
    images: Mapping[str, tuple[tuple[int, ...], Iterable[np.ndarray]]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write an uncompressed .npz of uint8 images, each a shape and its pieces, and of arrays.

    The file is on disk when this returns. Raises OSError.
    """
    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for key, (shape, pieces) in images.items():
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    npy.write_array_header_1_0(member, header)
                    for piece in pieces:
                        member.write(np.ascontiguousarray(piece).data)
            for key, array in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    npy.write_array(member, np.asanyarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def format_size(size: int) -> str:
    """Bytes in decimal units, for a message."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
