"""Commands that stand in for Slurm's: they note what they are asked, and answer as a test says."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("sbatch", "squeue", "scontrol", "sinfo")
COMMAND = """#!/bin/bash
cd "{folder}"
name=$(basename "$0")
echo "$name $*" >> asked
[ "$name" = sbatch ] && cat > script
[ -e "$name.out" ] && cat "$name.out"
# What refuses says why.
[ ! -e "$name.err" ] || {{ cat "$name.err" >&2; exit 1; }}
"""


@dataclass(frozen=True)
class StandIns:
    folder: Path

    def answer(self, name: str, text: str) -> None:
        (self.folder / f"{name}.out").write_text(text)

    def refuse(self, name: str, reason: str) -> None:
        (self.folder / f"{name}.err").write_text(reason)

    @property
    def asked(self) -> list[str]:
        """The commands so far, in their order."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def script(self) -> str:
        """What sbatch was given."""
        return (self.folder / "script").read_text()


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> StandIns:
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    for name in NAMES:
        command = folder / name
        command.write_text(COMMAND.format(folder=folder))
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return StandIns(folder)
