"""A timed run never shares its machine; untimed ones share it with each other."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fobench.errors import UserError
from fobench.machine import lock
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
    assert "another `fobench run` trains on this machine" in ran.output
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


@pytest.mark.parametrize("timed", [True, False])
def test_untimed_runs_share_the_machine_and_timed_ones_do_not(fobench, tiny, tmp_path, held, timed):
    if not timed:
        fcntl.flock(held, fcntl.LOCK_SH)
    words = ("run", tiny, "--only", "_baseline_", "--set", "train.epochs=1", "--no-wait")
    for more in ((), ("--untimed",), ("--jobs", "2"), ("--untimed", "--dry-run")):
        waits = "--dry-run" not in more and (timed or not more)
        # `--jobs` has nothing left to do when it comes.
        assert fobench(*words, *more).exit_code == (2 if waits else 0), more
    assert (tmp_path / "results").exists() != timed


def test_a_timed_run_waits_for_untimed_ones(fobench, tiny, held, caplog, monkeypatch):
    caplog.set_level("INFO")
    fcntl.flock(held, fcntl.LOCK_SH)
    words = ("run", tiny, "--only", "_baseline_", "--set", "train.epochs=1")
    assert fobench(*words, "--untimed").exit_code == 0
    assert "waiting for another" not in caplog.text
    monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(held, fcntl.LOCK_UN))
    assert fobench(*words, "--force").exit_code == 0
    assert "waiting for another" in caplog.text


def test_a_shared_lock_is_exclusive_while_something_is_measured(held):
    fcntl.flock(held, fcntl.LOCK_SH)

    def others_may_share() -> bool:
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with machine_lock(wait=False, shared=True) as machine:
        with machine.alone_if_free() as alone:
            assert not alone
            assert others_may_share()
        fcntl.flock(held, fcntl.LOCK_UN)
        with machine.alone_if_free() as alone:
            assert alone
            assert not others_may_share()
        assert others_may_share()
    fcntl.flock(held, fcntl.LOCK_UN)
    with machine_lock(wait=False) as machine, machine.alone_if_free() as alone:
        assert alone
        assert not others_may_share()


def test_two_that_share_the_machine_do_not_wait_for_each_other_to_measure():
    with machine_lock(shared=True) as one, machine_lock(shared=True) as other:
        for each in (one, other):
            with each.alone_if_free() as alone:
                assert not alone
        other.release()
        with one.alone_if_free() as alone:
            assert alone


def test_a_lock_that_another_user_made_is_used(monkeypatch):
    """Linux may refuse to open it with O_CREAT."""
    lock_path().touch()
    open_now = os.open

    def refuse_to_create(path, flags, *mode):
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return open_now(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse_to_create)
    with machine_lock(wait=False):
        pass


@pytest.mark.parametrize("stale", [False, True])
def test_a_file_that_its_holder_removed_meanwhile_is_made_anew(tmp_path, monkeypatch, stale):
    """Between this process's opening it and locking it; on NFS the lock is an error then."""
    locks, calls = lock.try_lock, []

    def removed(descriptor, *shared):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / lock.FILE).unlink()
            if stale:
                raise OSError(errno.ESTALE, "Stale file handle")
        return locks(descriptor, *shared)

    monkeypatch.setattr(lock, "try_lock", removed)
    with lock.run_lock(tmp_path) as ours:
        assert ours
        assert len(calls) == 2
        with lock.run_lock(tmp_path) as theirs:
            assert not theirs
        assert (tmp_path / lock.FILE).exists(), "who does not hold it does not remove it"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_let_go_even_if_its_file_cannot_be_removed_for_a_signal(tmp_path, monkeypatch):
    def stopped(path):
        raise KeyboardInterrupt

    descriptor = lock.hold_folder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(lock.Path, "unlink", stopped)
        with pytest.raises(KeyboardInterrupt):
            lock.release_folder(tmp_path, descriptor)
    with lock.run_lock(tmp_path) as ours:
        assert ours


def test_the_file_of_another_process_is_not_removed(tmp_path):
    """As after a folder was removed and made again while it was held."""
    first = lock.hold_folder(tmp_path)
    (tmp_path / lock.FILE).unlink()
    second = lock.hold_folder(tmp_path)
    lock.release_folder(tmp_path, first)
    with lock.run_lock(tmp_path) as ours:
        assert not ours
    lock.release_folder(tmp_path, second)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_locked_no_file_stays(tmp_path, monkeypatch):
    def unsupported(descriptor, *shared):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "try_lock", unsupported)
    with pytest.raises(UserError, match="cannot be locked"), lock.run_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_shares_a_group_with_another_user_can_lock_what_that_one_left(tmp_path):
    before = os.umask(0o002)
    try:
        with lock.run_lock(tmp_path):
            assert (tmp_path / lock.FILE).stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


def test_one_at_a_time_holds_a_folder_however_often_it_is_let_go(tmp_path):
    inside, most = [], []

    def work(number: int) -> None:
        for _ in range(200):
            with lock.run_lock(tmp_path) as ours:
                if ours:
                    inside.append(number)
                    most.append(len(inside))
                    inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert max(most) == 1
    assert list(tmp_path.iterdir()) == []


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
