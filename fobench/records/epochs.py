"""epochs.csv: one row per epoch."""

import csv
import hashlib
import io
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fobench.errors import UserError
from fobench.records.files import read_bytes, write_bytes

RESTORE_RUN = (
    "restore it from a copy, or move the run's run.json and epochs.csv away: `fobench run` then "
    "trains the run again, from its checkpoint if it has one"
)


@dataclass(frozen=True)
class Epoch:
    """A row of epochs.csv.

    Errors are in percent. `train_*` are means over the epoch's (augmented) images, taken during
    training; `frozen_units` and `cached_units` are as of the end of the epoch. `val_*` are measured
    after each epoch, `test_*` after the last; None if not measured. `peak_memory_bytes` is the
    device's, or the process's for the CPU, from the start of training to the end of the epoch's.
    """

    epoch: int
    step: int
    frozen_units: int
    cached_units: int
    train_loss: float
    train_error: float
    val_loss: float | None
    val_error: float | None
    test_loss: float | None
    test_error: float | None
    train_seconds: float
    total_train_seconds: float
    train_cpu_seconds: float
    eval_seconds: float
    images_per_second: float
    cache_bytes: int
    peak_memory_bytes: int


COLUMNS = tuple(field.name for field in fields(Epoch))
INTEGERS = frozenset(field.name for field in fields(Epoch) if field.type is int)
OPTIONAL = frozenset({"val_loss", "val_error", "test_loss", "test_error"})
# Columns that vary when the same run is repeated on the same machine.
VOLATILE = frozenset(
    {
        "train_seconds",
        "total_train_seconds",
        "train_cpu_seconds",
        "eval_seconds",
        "images_per_second",
        "peak_memory_bytes",
    }
)


def write_epochs(folder: Path, epochs: Iterable[Epoch]) -> str:
    """Write epochs.csv. Returns its digest for the record."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for epoch in epochs:
        writer.writerow("" if cell is None else cell for cell in asdict(epoch).values())
    content = text.getvalue().encode()
    write_bytes(folder / "epochs.csv", content)
    return digest_of_lines(content)


def digest_of_lines(content: bytes) -> str:
    """SHA-256 of a file as it was written, with a line feed after each line.

    Git can check files out with other line endings, editors can drop the last one or add a byte
    order mark. The numbers are the same then.
    """
    lines = content.removeprefix(BOM_UTF8).splitlines()
    return hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()


def read_epochs(folder: Path, sha256: str | None = None) -> list[Epoch]:
    """Raises UserError for a file that is missing, truncated, changed or of another format."""
    path = folder / "epochs.csv"
    content = read_bytes(path, RESTORE_RUN)
    try:
        if sha256 is not None and digest_of_lines(content) != sha256:
            raise ValueError("it was changed after it was written")
        rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
        if not rows:
            raise ValueError("it has no rows")
        return [Epoch(**{name: read_cell(name, row[name]) for name in COLUMNS}) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {RESTORE_RUN}") from error


def read_cell(name: str, text: str) -> int | float | None:
    if text == "" and name in OPTIONAL:
        return None
    return int(text) if name in INTEGERS else float(text)
