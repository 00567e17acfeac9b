"""Several runs at once: what they end with, what is shown, and what ends them."""

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fobench.machine import cgroup, lock, threads
from fobench.records.runs import read_run
from fobench.sweep import jobs, loop, prepare, worker
from fobench.sweep.messages import Images
from tests.faults.kills import differences

HEAD = """
import os, signal, sys
from multiprocessing.connection import Connection
from fobench.sweep.messages import *
sweep = Connection(int(sys.argv[1]))
signal.alarm(60)
"""


@pytest.fixture
def one_thread():
    """Per worker; the process has two, as far as torch is concerned."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scripted(fobench, tiny, monkeypatch):
    """Run the tiny experiment with workers that do as scripts say: the first, the second, …"""

    def run(*scripts: str, words: tuple = ("--jobs", "2")):
        left = list(scripts)

        def start(descriptor, threads, output):
            return subprocess.Popen(
                [sys.executable, "-c", HEAD + left.pop(0), str(descriptor)],
                stdout=output,
                stderr=output,
                pass_fds=[descriptor],
            )

        with monkeypatch.context() as patch:
            patch.setattr(jobs, "start_process", start)
            ran = fobench("run", tiny, "--device", "cpu", *words)
        assert left == []
        return ran

    return run


def test_two_jobs_end_as_the_same_runs_alone(fobench, tiny, tmp_path, one_thread, caplog):
    """Through the processes that a user gets; errors and all that the clock does not say."""
    caplog.set_level("INFO")
    assert fobench("run", tiny, "--device", "cpu", "--results", "alone").exit_code == 0
    caplog.clear()
    assert fobench("run", tiny, "--device", "cpu", "--jobs", "2").exit_code == 0
    folders = sorted((tmp_path / "alone" / "tiny").glob("*seed0*"))
    assert len(folders) == 4
    for folder in folders:
        alone, beside = read_run(folder), read_run(tmp_path / "results" / "tiny" / folder.name)
        assert (alone.record["timed"], beside.record["timed"]) == (True, False)
        alone.record["timed"] = False
        assert differences(alone, beside) == []
        assert beside.record["environment"] == alone.record["environment"]
    lines = caplog.messages
    started = [line for line in lines if re.match(r"[12]: tiny [1-4]/4 ", line)]
    assert [line.split()[2] for line in started] == ["1/4", "2/4", "3/4", "4/4"]
    assert {line.split()[0] for line in started} == {"1:", "2:"}
    done = [line for line in lines if " runs done" in line]
    assert re.fullmatch("1 of 4 runs done, about .* left", done[0])
    assert done[-1] == "4 of 4 runs done"
    (epoch,) = (line for line in lines if f"{folders[0].name}: epoch 2/" in line)
    assert re.match("[12]: densenet", epoch)
    assert lines[-1].startswith("4 runs trained untimed: errors count, seconds do not")


def test_all_jobs_have_their_images_where_the_sweep_decided(scripted, monkeypatch):
    """Not where each of them would have them, after those before it took their memory."""
    monkeypatch.setattr("fobench.data.split.bytes_on_device", lambda _: 1000)
    monkeypatch.setattr("fobench.data.split.available_memory", lambda _: (3999, 0))
    says = "sweep.recv()\nsweep.send(Mistake([f'they are in {sweep.recv().place}']))"
    ran = scripted(says, says)
    assert "they are in host memory" in ran.output, "one copy would fit, two do not"
    loaded = []
    monkeypatch.setattr(worker, "load", lambda *given: loaded.append(given[-1]))
    sent = iter([SimpleNamespace(device=None, jobs=1), Images(None, None, "none", "file"), None])
    worker.train_all(SimpleNamespace(receive=lambda: next(sent)))
    assert loaded == ["file"]


def test_the_mean_of_images_in_a_file_is_found_once_for_all_jobs(
    fobench, tiny, tmp_path, monkeypatch
):
    images = np.zeros((65, 32, 32, 3), np.uint8)
    labels = np.arange(65) % 10
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images, "test_labels": labels}
    np.savez(tmp_path / "own.npz", **arrays)
    monkeypatch.setattr("fobench.data.npz.MEMORY_SHARE", 0.0)
    kept = []
    monkeypatch.setattr(
        loop, "train_at_once", lambda *_: kept.extend(tmp_path.glob(".own.npz.statistics")) or []
    )
    words = ("--device", "cpu", "--jobs", "2", "--set", "data.dataset=./own.npz")
    fobench("run", tiny, *words)
    assert len(kept) == 1


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_another_takes_the_rest(scripted, caplog):
    caplog.set_level("INFO")
    dies = "sweep.recv()\nos.kill(os.getpid(), signal.SIGSEGV)"
    fails = "sys.stderr.write('no such library'); sys.exit(3)"
    waits = (
        "while sent := sweep.recv():\n"
        " if isinstance(sent, Job):\n"
        "  print('had', sent.run.id); sweep.send(JobDone())"
    )
    ran = scripted(dies, fails, dies, waits)
    assert ran.exit_code == 1
    died = [line for line in caplog.messages if " died: " in line]
    assert len(died) == 3
    assert sum("stays unfinished and can be resumed (SIGSEGV" in line for line in died) == 2
    assert sum("(exit status 3\nno such library)" in line for line in died) == 1
    assert "1 of 4 runs done" in caplog.text
    assert caplog.text.count("not finished: ") == 4


@pytest.mark.parametrize(
    ("says", "status", "message"),
    [
        ("Mistake(['the disk is full'])", 2, "Error: the disk is full\n"),
        pytest.param(
            *("DeviceLost('a fault')", 2, "the device does not work any more in this process (a "),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("Stop('SIGXCPU', 152)", 152, "Stopped by SIGXCPU: the same command resumes"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_stops_one_worker_stops_the_sweep(scripted, says, status, message, caplog):
    """With one message, and after the others have stopped."""
    stops = (
        "def stop(*_):\n"
        " sweep.send(__import__('logging').makeLogRecord({'name': 'fobench', 'levelno': 40,"
        " 'levelname': 'ERROR', 'msg': 'saved'}))\n"
        " sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "while not isinstance(sweep.recv(), Job): pass\n"
        "while True: signal.pause()"
    )
    ran = scripted(f"sweep.recv(); import time; time.sleep(1); sweep.send({says})", stops)
    assert ran.exit_code == status
    assert ran.output.count(message) == 1
    assert re.fullmatch("2: .*: saved", caplog.messages[-1])
    assert "Traceback" not in ran.output


def test_workers_out_of_time_end_the_sweep_when_all_are(scripted, caplog):
    caplog.set_level("INFO")
    late = "sweep.recv(); sweep.send(Stop('the time limit', 75))"
    last = "sweep.recv(); sweep.recv(); sweep.recv(); sweep.send(JobDone())\n" + late
    ran = scripted(late, last)
    assert ran.exit_code == 75
    assert "Stopped by the time limit" in ran.output
    assert "1 of 4 runs done" in caplog.text, "the other one goes on"
    assert "died" not in caplog.text


def test_once_the_time_is_up_no_worker_takes_the_place_of_a_dead_one(scripted, caplog):
    """It would train an epoch, as it knows none that is too long."""
    late = "sweep.recv(); sweep.send(Stop('the time limit', 75))"
    dies = "sweep.recv(); import time; time.sleep(2); os.kill(os.getpid(), signal.SIGKILL)"
    assert scripted(late, dies).exit_code == 75
    assert "worker 2 died" in caplog.text


def test_processes_that_cannot_be_started_are_a_mistake(fobench, tiny, monkeypatch):
    def refuse(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(jobs, "start_process", refuse)
    ran = fobench("run", tiny, "--jobs", "2")
    assert ran.exit_code == 2
    assert "cannot be started (Resource temporarily unavailable): give fewer jobs" in ran.output


def test_nothing_to_do_starts_no_worker(fobench, tiny, tmp_path, scripted):
    words = ("run", tiny, "--device", "cpu", "--only", "t0.30", "--set", "train.epochs=1")
    assert fobench(*words, "--untimed").exit_code == 0
    assert scripted(words=("--jobs", "2", *words[4:])).exit_code == 0


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_other_numbers_of_jobs_are_mistakes(fobench, tiny, jobs):
    assert fobench("run", tiny, "--jobs", jobs).exit_code == 2


def test_a_dry_run_needs_neither(fobench, tiny, tmp_path):
    words = ("run", tiny, "--dry-run")
    said = {fobench(*words, *more).output for more in ((), ("--untimed",), ("--jobs", "3"))}
    assert len(said) == 1
    assert not (tmp_path / "results").exists()


def test_plans_of_stores_are_made_alone_on_the_machine_and_once(
    fobench, tiny, tmp_path, monkeypatch
):
    """Before any worker starts, as two that measure at once would store differently."""
    made: list[str] = []
    monkeypatch.setattr("fobench.sweep.loop.train_at_once", lambda sweep, jobs: [])
    plan_of = prepare.plan_file.plan_of

    def watched(*args):
        with pytest.raises(lock.UserError), lock.machine_lock(wait=False, shared=True):
            pass
        made.append(args[0].id)
        return plan_of(*args)

    monkeypatch.setattr(prepare.plan_file, "plan_of", watched)
    config = tmp_path / "stored.toml"
    text = tiny.read_text().replace('"tiny"', '"stored"').replace("[0.3, 1.0]", "[0.3, 0.5]")
    config.write_text(f'{text}precompute = true\nviews = 1\nstore = "float32"\n')
    words = ("run", config, "--device", "cpu", "--jobs", "2", "--set", "experiment.seeds=[0, 1]")
    assert fobench(*words).exit_code == 1
    plans = len(list((tmp_path / "results/stored").glob("plan-*.json")))
    assert plans == 2
    assert len(made) == 4
    assert fobench(*words).exit_code == 1
    assert len(made) == 4, "nothing is left to measure"


@pytest.mark.parametrize(("count", "share"), [(2, 2), (3, 1), (9, 1)])
def test_each_job_has_its_share_of_the_threads(
    fobench, tiny, one_thread, monkeypatch, count, share
):
    """Of those that a run alone would have."""
    monkeypatch.setattr(threads, "cpus_allowed", lambda: None)
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: None)
    torch.set_num_threads(4)
    given = []

    def refuse(descriptor, threads, output):
        given.append(threads)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(jobs, "start_process", refuse)
    assert fobench("run", tiny, "--device", "cpu", "--jobs", str(count)).exit_code == 2
    assert given == [share]


def test_a_forced_run_whose_worker_dies_at_once_is_not_taken_for_its_earlier_training(
    fobench, tiny, scripted, caplog
):
    words = ("--only", "t0.30", "--set", "train.epochs=1")
    assert fobench("run", tiny, "--device", "cpu", *words, "--untimed").exit_code == 0
    ran = scripted("sys.exit(3)", words=("--jobs", "2", "--force", *words))
    assert ran.exit_code == 1
    assert "stays unfinished" in caplog.text
    assert "runs trained untimed" not in caplog.text
