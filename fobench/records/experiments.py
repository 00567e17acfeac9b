"""experiment.json, the list of an experiment's runs; and reading all of them."""

import re
from collections.abc import Sequence
from pathlib import Path

from fobench.errors import UserError
from fobench.records.files import RESTORE, exists, read_json, write_json
from fobench.records.runs import FORMAT, RunResult, read_run

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_experiment(folder: Path, name: str, run_ids: Sequence[str]) -> None:
    """Write the list of an experiment's runs."""
    write_json(folder / "experiment.json", {"format": FORMAT, "name": name, "runs": list(run_ids)})


def listed_runs(folder: Path) -> list[str]:
    """The ids of an experiment's runs; empty if it was never run."""
    path = folder / "experiment.json"
    if not exists(path):
        return []
    content = read_json(path)
    runs = content.get("runs")
    if content.get("format") != FORMAT or not isinstance(runs, list):
        raise UserError(f"{path} is not of format {FORMAT}: {RESTORE}")
    # An id with a path separator could lead out of the folder.
    if not all(isinstance(run_id, str) and RUN_ID.fullmatch(run_id) for run_id in runs):
        raise UserError(f"{path} lists invalid run ids: {RESTORE}")
    return runs


def unlisted_runs(folder: Path, listed: set[str]) -> list[str]:
    """The runs in an experiment's folder that are not in its list."""
    return sorted({each.parent.name for each in folder.glob("*/run.json")} - listed)


def read_experiment(folder: Path) -> tuple[list[RunResult], list[str]]:
    """The finished runs of an experiment, and notes on what is left out and why.

    Raises UserError if the folder is not that of an experiment.
    """
    if not exists(folder / "experiment.json"):
        raise UserError(
            f"{folder} has no experiment.json: give a folder that `fobench run` wrote, "
            "such as results/NAME"
        )
    listed = listed_runs(folder)
    notes, found = [], []
    to_do = [each for each in listed if not exists(folder / each / "run.json")]
    for run_id in (each for each in listed if each not in to_do):
        try:
            run = read_run(folder / run_id)
            status = run.record["status"]
            if status == "finished":
                found.append(run)
            else:
                interrupted = " or interrupted" if status == "running" else ""
                notes.append(f"{run_id} is left out: {status}{interrupted}")
        except UserError as error:
            notes.append(f"{run_id} is left out: {error}")
    if to_do:
        notes.append(f"{len(to_do)} of {len(listed)} runs are not run yet, such as {to_do[0]}")
    others = unlisted_runs(folder, set(listed))
    notes += [f"{run_id} is left out: it does not belong to this experiment" for run_id in others]
    return found, notes
