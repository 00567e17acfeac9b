"""Short runs of every network and method, whose results must never change.

    python -m tests.reference_runs [--all]

Trains what `tests/reference/<network>.json` lacks; with --all, everything. Do so for a new method
or network, or on another machine to compare two commits there bit for bit.
"""

import json
import os
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

from fobench.cli import main as fobench_main
from fobench.machine import environment
from fobench.records.epochs import VOLATILE, Epoch
from fobench.records.experiments import listed_runs
from fobench.records.runs import read_run
from tests.faults.kills import MEASURED, METHODS, NETWORKS, config_of

FOLDER = Path(__file__).parent / "reference"
# Entries of a record that depend on the machine or are measured.
LEFT_OUT = {"environment", "started", "ended", "epochs_sha256"} | MEASURED
COLUMNS = [field.name for field in fields(Epoch) if field.name not in VOLATILE]


def train(network: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The results of every method on a network, by run id."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "reference.toml"
    config.write_text(config_of("reference", network, list(METHODS)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        words = ["run", str(config), "--results", str(folder), "--device", "cpu"]
        ran = CliRunner().invoke(fobench_main, words, catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    if ran.exit_code != 0:
        raise RuntimeError(ran.output)
    runs = listed_runs(folder / "reference")
    return {run_id: result(folder / "reference" / run_id) for run_id in runs}


def result(folder: Path) -> dict[str, Any]:
    """The results in a run's files, without machine and times."""
    run = read_run(folder)
    rows = [[getattr(epoch, column) for column in COLUMNS] for epoch in run.epochs]
    return {"epochs": rows, "record": lasting(run.record)}


def lasting(content: Any) -> Any:
    """The content without entries that depend on the machine; order is kept."""
    if isinstance(content, dict):
        return {key: lasting(value) for key, value in content.items() if key not in LEFT_OUT}
    return [lasting(each) for each in content] if isinstance(content, list) else content


def machine() -> dict[str, Any]:
    """The environment that results depend on, with one thread."""
    described = environment.describe(torch.device("cpu")) | {"threads": 1}
    return environment.bits_depend_on(described)


def load(network: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{network}.json").read_text())


def main() -> None:
    for network in NETWORKS:
        path = FOLDER / f"{network}.json"
        known = load(network) if path.exists() and "--all" not in sys.argv else {}
        if known and known["machine"] != machine():
            sys.exit(f"{path} is from another machine: --all trains everything here")
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["FOBENCH_LOCK"] = str(Path(scratch) / "lock")
            trained = train(network, Path(scratch))
        runs = {run_id: known.get("runs", {}).get(run_id, run) for run_id, run in trained.items()}
        path.write_text(text_of({"machine": machine(), "columns": COLUMNS, "runs": runs}))


def text_of(content: dict[str, Any]) -> str:
    """JSON with a line for each run."""
    runs = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(run)}" for key, run in content["runs"].items()
    )
    head = json.dumps(content | {"runs": {}})
    return f"{head[:-2]}\n{runs}\n}}}}\n"


if __name__ == "__main__":
    main()
