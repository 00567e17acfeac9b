"""No more threads than processors, and records that say how many there were."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fobench.machine import cgroup, processors, threads
from fobench.machine.processors import cpus_allowed, usable_cpus
from fobench.records.runs import read_record

AFFINITY = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors and an affinity",
)


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch):
    """The process has two threads, nothing limits them, and afterwards it has as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: None)
    monkeypatch.setattr(threads, "cpus_allowed", lambda: None)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("quota", "allowed", "expected"),
    [(None, None, 2), (0.5, None, 1), (1.9, 8, 1), (4.0, 1, 1), (2.0, 2, 2), (64.0, 64, 2)],
)
def test_threads_are_limited_by_quota_and_affinity(monkeypatch, caplog, quota, allowed, expected):
    caplog.set_level("INFO")
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
    monkeypatch.setattr(threads, "cpus_allowed", lambda: allowed)
    threads.limit_threads()
    assert torch.get_num_threads() == expected
    assert ("threads: 1 instead of 2" in caplog.text) == (expected == 1)


def test_a_sweep_keeps_to_the_quota_and_says_so(fobench, tiny, tmp_path, monkeypatch, caplog):
    """Before training: the record has the lower number."""
    caplog.set_level("INFO")
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: 1.5)
    words = ("run", tiny, "--device", "cpu", "--only", "_baseline_", "--set", "train.epochs=1")
    assert fobench(*words).exit_code == 0
    assert "threads: 1 instead of 2, as the control group's CPU quota allows no more" in caplog.text
    (path,) = tmp_path.glob("results/tiny/*/run.json")
    assert read_record(path.parent)["environment"]["threads"] == 1


def test_a_system_without_affinity_sets_no_limit(monkeypatch):
    """Such as macOS."""
    monkeypatch.undo()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads.cpus_allowed() is None


@AFFINITY
def test_threads_that_openmp_pins_are_not_taken_for_a_limit():
    """It pins the main thread to one processor when torch is imported."""
    code = (
        "import os, torch; from fobench.machine.threads import limit_threads\n"
        "limit_threads(); print(len(os.sched_getaffinity(0)), torch.get_num_threads())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_PROC_BIND": "true", "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "1 2\n"


@AFFINITY
@pytest.mark.slow
def test_baselines_on_fewer_processors_are_not_paired(tiny, tmp_path, fobench):
    """As under taskset: baselines on one processor, the other runs on all."""
    train_apart(tiny, tmp_path, "_baseline_", processors=1)
    train_apart(tiny, tmp_path, "t0.30", processors=2)
    records = [
        read_record(path.parent) for path in sorted(tmp_path.glob("results/tiny/*/run.json"))
    ]
    environments = [record["environment"] for record in records]
    assert [each["cpus_allowed"] for each in environments] == [1, 2]
    assert [each["threads"] for each in environments] == [1, 2]
    text = fobench("report", "results/tiny").output
    assert "no time saved measured for FreezeOut" in text
    assert (
        "the runs come from several machines, cards or drivers, or had several CPU limits" in text
    )
    assert "| CPUs allowed | 1, 2 |" in text


def train_apart(config: Path, folder: Path, only: str, processors: int) -> None:
    """Train runs in a process that may use some processors only, with two threads asked for."""
    chosen = sorted(os.sched_getaffinity(0))[:processors]
    command = "from fobench.cli import main; main()"
    words = ("run", config, "--device", "cpu", "--only", only, "--set", "train.epochs=1")
    subprocess.run(
        [sys.executable, "-c", command, *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
        check=True,
    )


@pytest.mark.parametrize(
    ("variable", "value", "known"),
    [
        ("OMP_PROC_BIND", "false", True),
        ("OMP_PROC_BIND", "FALSE", True),
        ("OMP_PROC_BIND", "", True),
        ("OMP_PROC_BIND", "spread", False),
        ("OMP_PLACES", "cores", False),
    ],
)
def test_the_affinity_is_unknown_only_where_openmp_pins_threads(
    monkeypatch, variable, value, known
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    for name in processors.PINNING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert cpus_allowed() == (3 if known else None)


@pytest.mark.parametrize(
    ("quota", "allowed", "expected"),
    [(None, None, 6), (0.5, None, 1), (2.9, 8, 2), (4.0, 3, 3), (64.0, 64, 6)],
)
def test_what_decodes_images_uses_no_more_processors_than_are_left(
    monkeypatch, quota, allowed, expected
):
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
    monkeypatch.setattr(processors, "cpus_allowed", lambda: allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cpus() == expected
