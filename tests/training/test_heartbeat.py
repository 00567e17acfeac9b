"""The heartbeats of a run in training: what they say, when, and that they stop nothing."""

import os

import pytest

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.machine.process import job_of
from fobench.records.heartbeat import read_heartbeat
from fobench.training import heartbeat
from fobench.training.heartbeat import heartbeats
from fobench.training.progress import Progress
from tests.records.test_runs import ROW


@pytest.fixture
def run(tiny):
    return expand(load(tiny), open_synthetic("synthetic", 55, 20))[0]


def test_they_say_who_trains_and_how_far_it_is(run, tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "SECONDS", 0.0)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    with heartbeats(run, tmp_path, Progress()) as progress:
        assert read_heartbeat(tmp_path).images == 0, "before the network is built"
        with progress.of(run, 1):
            assert read_heartbeat(tmp_path).images_per_second is None
            progress.step(10, 2)
            found = read_heartbeat(tmp_path)
            progress.epoch(ROW)
    sender = (found.process, found.node, found.job)
    assert sender == (os.getpid(), "n7", "Slurm job 12_3")
    assert (found.epoch, found.images, found.of_images) == (2, 55, 135)
    assert found.images_per_second > 0
    assert found.seconds_old() < 60
    assert not list(tmp_path.glob("*heartbeat*"))


def test_they_are_written_now_and_then(run, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(heartbeat, "write_heartbeat", lambda *given: written.append(given))
    with heartbeats(run, tmp_path, Progress()) as progress:
        for _ in range(1000):
            progress.step(10, 2)
    assert len(written) == 1


def test_they_are_removed_when_a_run_is_stopped(run, tmp_path):
    with pytest.raises(KeyboardInterrupt), heartbeats(run, tmp_path, Progress()):
        raise KeyboardInterrupt
    assert not list(tmp_path.glob("*heartbeat*"))


def test_a_full_disk_is_told_once_and_training_goes_on(run, tmp_path, monkeypatch, caplog):
    def full_disk(*_):
        raise UserError("heartbeat.json cannot be written (No space left on device)")

    monkeypatch.setattr(heartbeat, "SECONDS", 0.0)
    monkeypatch.setattr(heartbeat, "write_heartbeat", full_disk)
    with heartbeats(run, tmp_path, Progress()) as progress, progress.of(run):
        progress.step(10, 2)
        progress.step(10, 2)
    (warning,) = caplog.messages
    assert "No space left" in warning


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, "Slurm job 7"),
        (
            {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"},
            "Slurm job 7_0",
        ),
        ({"PBS_JOBID": "9.head"}, "PBS job 9.head"),
    ],
)
def test_jobs_of_schedulers(variables, job):
    assert job_of(variables) == job
