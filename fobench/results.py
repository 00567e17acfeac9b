"""The files of a run, written and read: `epochs.csv`, `run.json`; and `experiment.json`.

Standard library alone. Every file is replaced as a whole, so that a reader never sees half of one.
A finished run's files carry checksums, so that a number changed on the disk is never believed.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fobench.errors import UserError
from fobench.files import is_there, write_bytes

FORMAT = 1
# A run that diverged would diverge again.
ENDED = ("finished", "diverged")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MEND = "delete its run.json, and the run is trained again, from its checkpoint if it has one"
# What every reader of run.json may count on.
RECORDED = ("status", "id", "baseline", "run", "total_steps", "steps_per_epoch", "environment")
RECORDED_WITHIN = {
    "run": ("data", "data_used", "model", "train", "method", "seed", "repeat"),
    "environment": ("host", "device", "gpu", "processor", "cores", "threads", "versions"),
}


@dataclass(frozen=True)
class Epoch:
    """A row of epochs.csv.

    Errors are in percent. `train_*` are means over the epoch's (augmented) images while they were
    trained on; `frozen_units` and `cached_units` as at the epoch's end; validation after each
    epoch, test after the last; None where there is none. `peak_memory_bytes` is the device's, or
    on the CPU the process's.
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
WHOLE = frozenset(field.name for field in fields(Epoch) if field.type is int)
MAY_BE_EMPTY = frozenset({"val_loss", "val_error", "test_loss", "test_error"})
# What varies when the same run is repeated on the same machine.
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


@dataclass(frozen=True)
class RunResult:
    """A run as its folder tells it."""

    id: str
    record: dict[str, Any]
    epochs: list[Epoch]


def write_json(path: Path, content: Any) -> None:
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def write_epochs(folder: Path, epochs: Iterable[Epoch]) -> str:
    """Write epochs.csv; its SHA-256 for the record."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for epoch in epochs:
        writer.writerow("" if cell is None else cell for cell in asdict(epoch).values())
    content = text.getvalue().encode()
    write_bytes(folder / "epochs.csv", content)
    return hashlib.sha256(content).hexdigest()


def read_epochs(folder: Path, sha256: str | None = None) -> list[Epoch]:
    """Raises UserError for a file that is missing, cut short, changed or not of this format."""
    path = folder / "epochs.csv"
    try:
        content = path.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("it is not as it was written")
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        if not rows:
            raise ValueError("it holds no row")
        return [Epoch(**{name: read_cell(name, row[name]) for name in COLUMNS}) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {MEND}") from error


def read_cell(name: str, text: str) -> int | float | None:
    if text == "" and name in MAY_BE_EMPTY:
        return None
    return int(text) if name in WHOLE else float(text)


def require_whole(folder: Path, epochs: Sequence[Epoch], record: dict[str, Any]) -> None:
    """Raises UserError if a finished run lacks rows, or its seconds are no seconds."""
    steps, last = record["steps_per_epoch"], record["total_steps"]
    expected = [*range(steps, last, steps), last]
    whole = [epoch.step for epoch in epochs] == expected
    if not whole or not all(0 < epoch.total_train_seconds < math.inf for epoch in epochs):
        raise UserError(
            f"{folder / 'epochs.csv'} does not hold the {len(expected)} epochs to step {last}: "
            f"{MEND}"
        )


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write run.json."""
    whole = {"format": FORMAT, **record}
    write_json(folder / "run.json", whole | {"sha256": record_digest(whole)})


def record_digest(record: dict[str, Any]) -> str:
    """SHA-256 of a record, however its file is laid out."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """Raises UserError for a run.json that is missing, damaged or of another format."""
    record = read_json(folder / "run.json")
    # Records of the first version carry no checksum.
    sha256 = record.pop("sha256", None)
    if record.get("format") != FORMAT:
        raise UserError(
            f"{folder / 'run.json'} has format {record.get('format')!r}, this fobench reads "
            f"{FORMAT}: use the fobench that wrote it, or move the folder away"
        )
    if sha256 is not None and sha256 != record_digest(record):
        raise UserError(f"{folder / 'run.json'} is not as it was written: {MEND}")
    missing = [key for key in RECORDED if key not in record]
    missing += [
        f"{key}.{inner}"
        for key, inners in RECORDED_WITHIN.items()
        for inner in inners
        if not isinstance(record.get(key), dict) or inner not in record[key]
    ]
    if missing:
        raise UserError(f"{folder / 'run.json'} lacks {', '.join(missing)}: {MEND}")
    return record


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete it, and `fobench run` makes it anew"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no table: delete it, and `fobench run` makes it anew")
    return content


def read_run(folder: Path) -> RunResult:
    """A run's record and, if it is finished, its rows.

    Raises UserError where either is missing or not sound.
    """
    record = read_record(folder)
    if record["status"] != "finished":
        return RunResult(folder.name, record, [])
    epochs = read_epochs(folder, record.get("epochs_sha256"))
    require_whole(folder, epochs, record)
    return RunResult(folder.name, record, epochs)


def status(folder: Path) -> str | None:
    """A run's status; None without a record. Raises UserError for a run that is not sound."""
    return read_run(folder).record["status"] if is_there(folder / "run.json") else None


def write_experiment(folder: Path, name: str, run_ids: Sequence[str]) -> None:
    """Say which runs belong to an experiment."""
    write_json(folder / "experiment.json", {"format": FORMAT, "name": name, "runs": list(run_ids)})


def runs_listed(folder: Path) -> list[str]:
    """The ids of the runs that belong to an experiment; none where it was never run."""
    path = folder / "experiment.json"
    if not is_there(path):
        return []
    content = read_json(path)
    runs = content.get("runs")
    if content.get("format") != FORMAT or not isinstance(runs, list):
        raise UserError(f"{path} is not of format {FORMAT}: delete it, a run writes it anew")
    # A name with a folder in it would lead out of this one.
    if not all(isinstance(run_id, str) and RUN_ID.fullmatch(run_id) for run_id in runs):
        raise UserError(f"{path} lists what is no run id: delete it, a run writes it anew")
    return runs


def runs_of_others(folder: Path, belonging: set[str]) -> list[str]:
    """The runs in an experiment's folder that do not belong to it."""
    return sorted({each.parent.name for each in folder.glob("*/run.json")} - belonging)


def read_experiment(folder: Path) -> tuple[list[RunResult], list[str]]:
    """The finished runs of an experiment, and notes on what was left out and why.

    Raises UserError if the folder holds no experiment.
    """
    if not is_there(folder / "experiment.json"):
        raise UserError(
            f"{folder} holds no experiment.json: give a folder that `fobench run` wrote, "
            "such as results/NAME"
        )
    belonging = runs_listed(folder)
    notes, found = [], []
    for run_id in belonging:
        try:
            run = read_run(folder / run_id)
            status = run.record["status"]
            if status == "finished":
                found.append(run)
            else:
                cut_off = " or cut off" if status == "running" else ""
                notes.append(f"{run_id} is left out: {status}{cut_off}")
        except UserError as error:
            missing = not is_there(folder / run_id / "run.json")
            notes.append(f"{run_id} is left out: {'not run yet' if missing else error}")
    strays = runs_of_others(folder, set(belonging))
    notes += [f"{stray} is left out: it is not of this experiment" for stray in strays]
    return found, notes
