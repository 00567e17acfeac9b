"""What the fault tests share: one run of the tiny experiment, cut off, and compared at its end."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from fobench.machine.interruption import Deadline
from fobench.records.runs import read_run
from fobench.training import loop
from tests.faults.kills import differences

ONLY = "t0.30"


@dataclass
class Victim:
    """The run of the tiny experiment that freezes early: 3 epochs of 5 steps."""

    fobench: object
    config: Path
    root: Path
    alone: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def folder(self) -> Path:
        return self.root / "results" / "tiny" / self.alone.name

    def run(self, *more: str) -> Result:
        """Train it from its current state."""
        return self.fobench("run", self.config, "--only", ONLY, "--device", "cpu", *more)

    def cut_off(self, epochs: int, *more: str) -> None:
        """Train it for `epochs` epochs, as if the time were up then."""
        done: list[int] = []
        with self.monkeypatch.context() as patch:
            patch.setattr(Deadline, "end_epoch", lambda _: done.append(1))
            patch.setattr(Deadline, "is_close", property(lambda _: len(done) >= epochs))
            ran = self.run(*more)
        assert ran.exit_code == 75, ran.output

    def move_record_away(self) -> None:
        """As messages about a damaged run advise."""
        for name in ("run.json", "epochs.csv"):
            (self.folder / name).rename(self.root / name)

    def require_its_end(self, resumed_after: int | None = None) -> None:
        """It is finished with the results of an uninterrupted run."""
        read = read_run(self.folder)
        assert differences(read_run(self.alone), read) == []
        at = [each["epochs"] for each in read.record["resumed_at"]]
        assert at == ([] if resumed_after is None else [resumed_after])
        assert sorted(path.name for path in self.folder.iterdir()) == ["epochs.csv", "run.json"]


@pytest.fixture
def victim(fobench, tiny, tmp_path, tiny_results, monkeypatch) -> Victim:
    (alone,) = tiny_results.glob(f"*{ONLY}*")
    return Victim(fobench, tiny, tmp_path, alone, monkeypatch)


def after_steps(monkeypatch, epoch: int, what) -> None:
    """Do something when an epoch's steps are done and nothing of it is written yet."""
    train_epoch = loop.train_epoch

    def watched(training, number, *args):
        totals = train_epoch(training, number, *args)
        if number == epoch:
            what()
        return totals

    monkeypatch.setattr(loop, "train_epoch", watched)
