"""Whichever file operation a process dies at, the run resumes to the same end.

Kills at random moments seldom hit the milliseconds of writing; here each of them is hit.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fobench.records.runs import read_run
from tests.faults.kills import differences


class Crash(BaseException):
    """The process is dead: nothing that it would still do to a file happens."""


class FileOperations:
    """Counts flushes, moves and removals; from number `last` on each one raises Crash."""

    def __init__(self, monkeypatch, last: float = float("inf")) -> None:
        self.count, self.last = 0, last
        for holder, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
            monkeypatch.setattr(holder, name, self.counted(getattr(holder, name)))

    def counted(self, operation: Callable) -> Callable:
        def crash_or_do(*args, **options):
            self.count += 1
            if self.count > self.last:
                raise Crash
            return operation(*args, **options)

        return crash_or_do


def operations_of_a_run(victim, patch) -> int:
    operations = FileOperations(patch)
    assert victim.run().exit_code == 0
    return operations.count


@pytest.mark.slow
def test_a_crash_at_any_file_operation_changes_nothing(victim, monkeypatch):
    with monkeypatch.context() as patch:
        total = operations_of_a_run(victim, patch)
    victim.require_its_end()
    assert total > 30
    resumed_after = set()
    for last in range(total):
        (victim.folder / "run.json").unlink()
        with monkeypatch.context() as patch:
            FileOperations(patch, last)
            with pytest.raises(Crash):
                victim.run()
        ran = victim.run()
        assert ran.exit_code == 0, (last, ran.output)
        read = read_run(victim.folder)
        assert differences(read_run(victim.alone), read) == [], last
        assert [path.name for path in victim.folder.glob("*checkpoint*")] == []
        assert [path.name for path in victim.folder.glob(".*")] == []
        resumed_after |= {each["epochs"] for each in read.record["resumed_at"]}
    assert resumed_after == {1, 2}
