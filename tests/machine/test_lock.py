"""Two timed runs never share a machine."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from fobench.errors import UserError
from fobench.machine.lock import lock_path, machine_lock


@pytest.fixture
def held():
    """The lock, as another process would hold it."""
    with lock_path().open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        yield other


def test_a_second_run_leaves_with_no_wait(fobench, tiny, tmp_path, held):
    ran = fobench("run", tiny, "--no-wait")
    assert ran.exit_code == 2
    assert "another `fobench run` is timing on this machine" in ran.output
    assert not (tmp_path / "results").exists()
    assert fobench("run", tiny, "--dry-run").exit_code == 0, "a plan disturbs nobody"


def test_a_second_run_waits(fobench, tiny, tmp_path, held, caplog, monkeypatch):
    caplog.set_level("INFO")
    began_early: list[bool] = []

    sleep = time.sleep

    def release(seconds: float) -> None:
        if not began_early:
            began_early.append((tmp_path / "results").exists())
            fcntl.flock(held, fcntl.LOCK_UN)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", release)
    assert fobench("run", tiny, "--only", "_baseline_").exit_code == 0
    assert began_early == [False]
    assert "waiting for another" in caplog.text
    assert len(list((tmp_path / "results").glob("tiny/*/run.json"))) == 1


def test_the_lock_dies_with_its_holder():
    code = (
        "import time; from fobench.machine.lock import machine_lock\n"
        "with machine_lock(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another"), machine_lock(wait=False):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with machine_lock(wait=False):
        pass


def test_all_jobs_of_a_machine_have_one_lock(monkeypatch, tmp_path):
    """Though each may have a folder of its own for temporary files."""
    monkeypatch.delenv("FOBENCH_LOCK")
    before = lock_path()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers
    assert tempfile.gettempdir() == str(tmp_path)
    assert lock_path() == before


def test_a_disk_that_locks_nothing_is_reported(monkeypatch):
    def unsupported(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(UserError, match="set FOBENCH_LOCK to a file on a disk of"), machine_lock():
        pass


def test_a_lock_that_cannot_be_opened_is_reported(monkeypatch):
    monkeypatch.setenv("FOBENCH_LOCK", "/proc/none/lock")
    with pytest.raises(UserError, match="set FOBENCH_LOCK"), machine_lock():
        pass


def test_a_folder_that_is_not_there_is_reported_and_not_made(monkeypatch, tmp_path):
    """A typing mistake would give a lock that nobody shares."""
    monkeypatch.setenv("FOBENCH_LOCK", str(tmp_path / "typo" / "lock"))
    with pytest.raises(UserError, match="typo is not a folder: set FOBENCH_LOCK"), machine_lock():
        pass
    assert not (tmp_path / "typo").exists()


def test_a_link_and_its_target_are_one_lock(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    monkeypatch.setenv("FOBENCH_LOCK", str(tmp_path / "link"))
    with machine_lock():
        monkeypatch.setenv("FOBENCH_LOCK", str(tmp_path / "target"))
        with pytest.raises(UserError, match="another"), machine_lock(wait=False):
            pass
