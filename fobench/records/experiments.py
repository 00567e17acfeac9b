"""experiment.json: which runs belong to an experiment; and all of them read."""

import re
from collections.abc import Sequence
from pathlib import Path

from fobench.errors import UserError
from fobench.records.files import exists, read_json, write_json
from fobench.records.runs import FORMAT, RunResult, read_run

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_experiment(folder: Path, name: str, run_ids: Sequence[str]) -> None:
    """Say which runs belong to an experiment."""
    write_json(folder / "experiment.json", {"format": FORMAT, "name": name, "runs": list(run_ids)})


def runs_listed(folder: Path) -> list[str]:
    """The ids of the runs that belong to an experiment; none where it was never run."""
    path = folder / "experiment.json"
    if not exists(path):
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
    if not exists(folder / "experiment.json"):
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
            missing = not exists(folder / run_id / "run.json")
            notes.append(f"{run_id} is left out: {'not run yet' if missing else error}")
    strays = runs_of_others(folder, set(belonging))
    notes += [f"{stray} is left out: it is not of this experiment" for stray in strays]
    return found, notes
