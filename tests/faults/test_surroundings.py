"""Memory, the clock, and other processes.

Either the run continues from its last good state, or it stops with a message that names the file
and the remedy; finished runs are kept.
"""

import errno
import json
import os
import threading
from stat import S_ISDIR

import pytest
import torch

from fobench.machine import lock
from fobench.records.runs import read_run
from tests.faults.conftest import after_steps
from tests.faults.kills import compare, config_of, differences, launching


def out_of_memory(kind: str) -> None:
    if kind == "host":
        torch.empty(1 << 60, dtype=torch.uint8)
    if kind == "device":
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
    raise MemoryError


@pytest.mark.parametrize(
    "kind", ["device", *(pytest.param(each, marks=pytest.mark.slow) for each in ("host", "python"))]
)
def test_memory_exhausted_in_training_is_recorded_and_the_sweep_continues(
    fobench, tiny, tmp_path, tiny_results, monkeypatch, caplog, kind
):
    with monkeypatch.context() as patch:
        after_steps(patch, 2, lambda: out_of_memory(kind))
        ran = fobench("run", tiny, "--device", "cpu")
    assert ran.exit_code == 1
    assert "Traceback" not in ran.output + caplog.text
    assert caplog.text.count("out of memory: lower train.batch_size") == 3 * 2
    status = {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in tmp_path.glob("results/tiny/*/run.json")
    }
    # The shorter baseline has no third epoch.
    assert sorted(status.values()) == ["failed"] * 3 + ["finished"]
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    for alone in tiny_results.glob("*/run.json"):
        read = read_run(tmp_path / "results" / "tiny" / alone.parent.name)
        assert differences(read_run(alone.parent), read) == []
        went_on = [{"epochs": 2}] if status[read.id] == "failed" else []
        assert [{"epochs": each["epochs"]} for each in read.record["resumed_at"]] == went_on


def test_a_clock_set_back_changes_no_time_that_was_measured(victim, monkeypatch):
    victim.cut_off(epochs=1)
    stamps = iter(f"19{year}-01-01T00:00:00+00:00" for year in range(99, 0, -1))
    with monkeypatch.context() as patch:
        patch.setattr("fobench.training.run_record.now", lambda: next(stamps))
        patch.setattr("time.time", iter(range(10**6, 0, -1)).__next__)
        assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)
    read = read_run(victim.folder)
    assert read.record["ended"] < read.record["started"]
    assert all(0 < row.train_seconds < 60 and row.eval_seconds > 0 for row in read.epochs)


def test_a_run_that_another_process_trains_is_left_to_it(victim, caplog):
    victim.cut_off(epochs=1)
    with lock.run_lock(victim.folder) as ours:
        assert ours
        before = {path.name: path.read_bytes() for path in victim.folder.iterdir()}
        assert victim.run().exit_code == 1
        assert before == {path.name: path.read_bytes() for path in victim.folder.iterdir()}
    assert "another process trains it" in caplog.text
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)


def test_machines_that_share_a_folder_lock_each_other_out(victim, monkeypatch, caplog):
    """Network file systems lock folders on one machine only, files on all."""
    lock_now = lock.try_lock

    def of_files(descriptor, *shared):
        return S_ISDIR(os.fstat(descriptor).st_mode) or lock_now(descriptor, *shared)

    monkeypatch.setattr(lock, "try_lock", of_files)
    victim.cut_off(epochs=1)
    with lock.run_lock(victim.folder) as ours:
        assert ours
        assert victim.run().exit_code == 1
        assert "another process trains it" in caplog.text
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)


def test_a_lock_that_a_killed_process_left_locks_nothing_and_is_removed(victim):
    """In the midst of a run, or at its very end."""
    victim.cut_off(epochs=1)
    for _ in range(2):
        (victim.folder / ".lock").touch()
        assert victim.run().exit_code == 0
        victim.require_its_end(resumed_after=1)


def test_where_nothing_can_be_locked_nothing_is_trained(victim, monkeypatch):
    locked = lock.try_lock

    def only_the_machine(descriptor, *shared):
        if os.fstat(descriptor).st_ino != lock.lock_path().stat().st_ino:
            raise OSError(errno.ENOLCK, "No locks available")
        return locked(descriptor, *shared)

    monkeypatch.setattr(lock, "try_lock", only_the_machine)
    ran = victim.run()
    assert ran.exit_code == 2
    assert f"{victim.folder.name} cannot be locked (No locks available)" in ran.output
    assert not (victim.folder / "run.json").exists()


@pytest.mark.slow
def test_two_processes_on_one_results_folder_share_the_work(tmp_path):
    """With machine locks of their own, as on two machines that share a disk."""
    config = tmp_path / "wideresnet.toml"
    methods = ["baseline", "linear, scaled", "equal time"]
    config.write_text(config_of("wideresnet", "wideresnet", methods))
    words = ("run", config, "--device", "cpu", "--results")
    # A thread each: two processes of two threads would wait for each other most of the time.
    folders = (tmp_path / "one", tmp_path / "two")
    with launching(folders[0], threads=1) as one, launching(folders[1], threads=1) as two:
        assert one.run(*words, tmp_path / "alone", "--keep-checkpoints")["exit"] == 0
        ended = []

        def run(launcher):
            ended.append(launcher.run(*words, tmp_path / "shared")["exit"])

        both = [threading.Thread(target=run, args=(each,)) for each in (one, two)]
        for each in both:
            each.start()
        for each in both:
            each.join()
        assert len(ended) == 2
        assert set(ended) <= {0, 1}, (one.log.read_text(), two.log.read_text())
        # What one left out because the other trained it is finished by now.
        assert one.run(*words, tmp_path / "shared")["exit"] == 0
    tally = compare(tmp_path / "alone/wideresnet", tmp_path / "shared/wideresnet")
    assert tally.differences == []
    assert tally.resumes == 0
