"""Runs killed at random moments, resumed to their end, and compared with runs left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from fobench.records.epochs import VOLATILE
from fobench.records.runs import RunResult, read_record, read_run
from fobench.training import checkpoint, snapshots
from tests.networks import EXAMPLES

ROOT = Path(__file__).parents[2]

# Two views, the first of them built twice; the epochs start with 1, 2 and 3 frozen units at least.
STORED = """name = "freezeout"
scaling = "linear"
t0 = 0.3
views = 2
precompute = true
plan = [[3, 1], [4, 2], [5, 3]]"""
# Every method. A new one joins the kills by a line here.
METHODS = {
    "baseline": 'name = "baseline"',
    "shorter baseline": 'name = "baseline"\nepoch_share = 0.7',
    "constant rate": 'name = "baseline"\nannealing = "constant"',
    "linear, scaled": 'name = "freezeout"\nscaling = "linear"\nt0 = 0.5',
    "cubic, unscaled": 'name = "freezeout"\nscale_lr = false\nt0 = 0.7',
    "squared, shorter": 'name = "freezeout"\nscaling = "squared"\nt0 = 0.5\nepoch_share = 0.7',
    "equal time": 'name = "freezeout"\nscaling = "linear"\nt0 = 0.5\nmatch_time = true',
    "stored": STORED,
    "stored exactly": f'{STORED}\nstore = "float32"',
    "snapshots": 'name = "snapshot"\nkeep_snapshots = true',
    "freezing snapshots": STORED.replace('"freezeout"', '"snapshot"\nkeep_snapshots = true'),
    "ensemble": 'name = "ensemble"',
    "as published": 'name = "freezeout"\nscaling = "linear"\nt0 = 0.4\ncompat = "reference"',
}
NETWORKS = EXAMPLES
MAX_FACTOR = 5
# Entries of a record that may differ if the run was interrupted.
RECORD_MAY_DIFFER = {"resumed", "resumed_at", "started", "ended", "epochs_sha256", "environment"}
# What of a store and its plan is measured.
MEASURED = {"budget_bytes", "room", "predicted", "seconds_saved", "build_seconds", "read_seconds"}
MEASURED |= {"eval_seconds", "single_eval_seconds"}  # of an ensemble
MEASURED |= {"record"}  # in checkpoints: when and where a run started and was resumed


PHASES = ("before the first freeze", "between freezes", "in the last epoch")
SHARES = 3  # of the methods, so that a sweep is short and kills come soon


def all_sweeps() -> dict[str, tuple[str, list[str]]]:
    """Every method of every network, in short sweeps: network and methods by name."""
    return {
        f"{network}-{share}": (network, list(METHODS)[share::SHARES])
        for share in range(SHARES)
        for network in NETWORKS
    }


def config_of(name: str, network: str, methods: Sequence[str]) -> str:
    """A small experiment: 5 epochs of 5 steps, the last batch short, augmented and validated."""
    options = "\n".join(f"{key} = {value}" for key, value in NETWORKS[network].items())
    tables = "\n".join(f"[[method]]\n{METHODS[method]}\n" for method in methods)
    return f"""
[experiment]
name = "{name}"
[data]
dataset = "synthetic"
train_size = 45
validation = 10
test_size = 20
[model]
name = "{network}"
{options}
[train]
epochs = 5
batch_size = 10
{tables}"""


@dataclass
class Launcher:
    """Runs `fobench` in processes of their own; see `tests.faults.forks`."""

    process: subprocess.Popen
    folder: Path

    def run(
        self,
        *words: str | Path,
        kill_after: float | None = None,
        number: int = signal.SIGKILL,
        at_worker: bool = False,
    ) -> dict[str, float]:
        """The exit status, negative for the signal that killed it, and the seconds it took."""
        asked = {
            "words": [str(word) for word in words],
            "kill_after": kill_after,
            "signal": int(number),
            "worker": at_worker,
            "log": str(self.log),
        }
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the launcher itself ended, with {self.process.wait()}")
        return json.loads(answer)

    @property
    def log(self) -> Path:
        return self.folder / "log"


@contextmanager
def launching(folder: Path, threads: int | None = None) -> Iterator[Launcher]:
    """A launcher whose commands have a data root and a machine lock of their own."""
    folder.mkdir(exist_ok=True)
    surroundings = {"FOBENCH_DATA": str(folder / "data"), "FOBENCH_LOCK": str(folder / "lock")}
    if threads is not None:
        surroundings["OMP_NUM_THREADS"] = str(threads)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.forks"],
        cwd=ROOT,
        env=os.environ | surroundings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Launcher(process, folder)
    finally:
        process.stdin.close()
        process.wait()


@dataclass
class Tally:
    """What a soak has seen."""

    kills: int = 0
    resumes: int = 0
    sweeps: int = 0
    runs: int = 0
    moments: Counter = field(default_factory=Counter)
    resumed: Counter = field(default_factory=Counter)
    resumed_with_store: int = 0
    differences: list[str] = field(default_factory=list)


def soak(
    folder: Path,
    launcher: Launcher,
    kills: int,
    seed: int,
    sweeps: dict[str, tuple[str, list[str]]],
    resumed: Iterable[str] = (),
) -> Tally:
    """Kill sweeps at random moments, again and again until each is done, and compare the ends.

    `sweeps` are networks and methods by name. It continues beyond `kills`, though not to their
    fivefold, until a run was resumed; where `resumed` names phases, in all of them, and one that
    had built a store.
    """
    draw, tally = random.Random(seed), Tally()
    alone = {name: train_alone(folder, launcher, name, *sweeps[name]) for name in sweeps}

    def goes_on() -> bool:
        missed = not tally.resumes or set(resumed) - set(tally.resumed)
        missed = missed or (resumed and not tally.resumed_with_store)
        return tally.kills < (MAX_FACTOR * kills if missed else kills)

    while goes_on():
        for name, (network, _) in sweeps.items():
            config, whole, seconds = alone[name]
            trial = folder / f"trial-{tally.sweeps}"
            keep = ["--keep-checkpoints"] if draw.random() < 0.7 else []
            thin = ["--set", f"experiment.checkpoint_every={draw.choice([0, 0, 0.1])}"]
            words = ["run", config, "--results", trial, "--device", "cpu", *keep, *thin]
            while True:
                ended = launcher.run(*words, kill_after=draw.uniform(0, 1.1 * seconds))
                # Killed by something else, such as a lack of memory: counts as a difference.
                if ended["exit"] != -signal.SIGKILL or not ended["sent"]:
                    break
                tally.kills += 1
                tally.moments[f"{network}, {moment(trial / name)}"] += 1
            if ended["exit"] != 0:
                tally.differences.append(f"{name}: exit {ended['exit']}, see {launcher.log}")
            seen = compare(whole, trial / name)
            tally.runs += seen.runs
            tally.resumes += seen.resumes
            tally.resumed_with_store += seen.resumed_with_store
            tally.resumed += Counter(
                {f"{network}, {phase}": count for phase, count in seen.resumed.items()}
            )
            tally.differences += seen.differences
            tally.sweeps += 1
            shutil.rmtree(trial)
    return tally


def train_alone(
    folder: Path, launcher: Launcher, name: str, network: str, methods: Sequence[str]
) -> tuple[Path, Path, float]:
    """Train a sweep without a kill: its config, its results and its seconds."""
    config = folder / f"{name}.toml"
    config.write_text(config_of(name, network, methods))
    words = ("run", config, "--results", folder / "alone", "--device", "cpu")
    ended = launcher.run(*words, "--keep-checkpoints")
    if ended["exit"] != 0:
        raise RuntimeError(launcher.log.read_text())
    return config, folder / "alone" / name, ended["seconds"]


def moment(experiment: Path) -> str:
    """Where in a run the process died, judged by its files."""
    for folder in experiment.glob("*"):
        if not (folder / "run.json").exists():
            continue
        record = read_record(folder)
        if record["status"] != "running":
            continue
        path = folder / "epochs.csv"
        rows = path.read_text().splitlines()[1:] if path.exists() else []
        return phase(record, len(rows))
    return "between runs"


def phase(record: dict[str, Any], epochs: int) -> str:
    """The phase of a run after a number of epochs."""
    if epochs == 0:
        return "in the first epoch"
    if (epochs + 1) * record["steps_per_epoch"] >= record["total_steps"]:
        return "in the last epoch"
    freezes = [unit["freeze_step"] for unit in record["units"] if unit["freeze_step"] is not None]
    if not freezes:
        return "without freezing"
    step = epochs * record["steps_per_epoch"]
    return "before the first freeze" if step < min(freezes) else "between freezes"


def has_built(record: dict[str, Any], epochs: int) -> bool:
    """Whether a run has built a store in its first `epochs` epochs."""
    return any(build["epoch"] <= epochs for build in record.get("store_plan", {}).get("builds", ()))


def compare(alone: Path, trial: Path) -> Tally:
    """Count the runs of a sweep and collect all differences from uninterrupted ones."""
    tally = Tally()
    for folder in sorted(path for path in alone.iterdir() if path.is_dir()):
        try:
            whole, resumed = read_run(folder), read_run(trial / folder.name)
        except Exception as error:
            tally.differences.append(f"{folder.name}: {error}")
            continue
        tally.runs += 1
        tally.resumes += len(resumed.record["resumed_at"])
        for each in resumed.record["resumed_at"]:
            tally.resumed[phase(resumed.record, each["epochs"])] += 1
            tally.resumed_with_store += has_built(resumed.record, each["epochs"])
        tally.differences += [f"{folder.name}: {each}" for each in differences(whole, resumed)]
        kept = trial / folder.name / checkpoint.LAST
        if resumed.record["keeps_checkpoint"] != kept.exists():
            tally.differences.append(f"{folder.name}: its checkpoint was not kept as asked")
        elif kept.exists() and not same_state(checkpoint.read(folder / checkpoint.LAST),
                                              checkpoint.read(kept)):  # fmt: skip
            tally.differences.append(f"{folder.name}: weights or optimizer differ")
        if not same_snapshots(folder / snapshots.FILE, trial / folder.name / snapshots.FILE):
            tally.differences.append(f"{folder.name}: its snapshots differ")
    return tally


def same_snapshots(whole: Path, resumed: Path) -> bool:
    """Whether both kept no snapshots, or the same."""
    if not whole.exists():
        return not resumed.exists()
    one, other = (torch.load(path, weights_only=True) for path in (whole, resumed))
    return same_state(one, other)


def differences(whole: RunResult, resumed: RunResult) -> list[str]:
    """Unexpected differences in columns and entries of two results of a run."""
    found = []
    for entry in set(whole.record) - RECORD_MAY_DIFFER - {"keeps_checkpoint"}:
        if not same_state(whole.record[entry], resumed.record.get(entry)):
            found.append(f"{entry} in run.json")
    seconds = 0.0
    for one, other in zip(whole.epochs, resumed.epochs, strict=True):
        cells, others = asdict(one), asdict(other)
        found += [
            f"{name} of epoch {one.epoch}"
            for name in set(cells) - VOLATILE
            if cells[name] != others[name]
        ]
        seconds += other.train_seconds
        if abs(other.total_train_seconds - seconds) > 1e-9 * seconds:
            found.append(f"total_train_seconds of epoch {one.epoch}")
    return found


def same_state(whole: Any, resumed: Any) -> bool:
    """Whether two checkpoints or records hold the same bits, but for the clock's."""
    if isinstance(whole, torch.Tensor):
        return torch.equal(whole, resumed)
    if isinstance(whole, dict):
        volatile = (VOLATILE | MEASURED) & whole.keys()
        return (
            isinstance(resumed, dict)
            and whole.keys() == resumed.keys()
            and all(same_state(whole[key], resumed[key]) for key in whole.keys() - volatile)
        )
    if isinstance(whole, list | tuple):
        return len(whole) == len(resumed or ()) and all(map(same_state, whole, resumed))
    return whole == resumed
