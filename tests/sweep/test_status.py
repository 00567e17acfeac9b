"""What `fobench status` tells of runs, from folders as trainings leave them."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from fobench.experiment.config import load
from fobench.machine import process
from fobench.records.epochs import write_epochs
from fobench.records.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from fobench.records.runs import write_record
from fobench.sweep.compared import compare_not
from fobench.sweep.plan import plan_all
from fobench.sweep.status import Pace, state_of, states_of
from tests.cli.test_commands import FOBENCH
from tests.records.test_runs import ROW, record

ELSEWHERE = {"node": "n7", "job": "Slurm job 4_2", "system": "another", "process": 1}
ELSEWHERE["process_began"] = 0.0
EPOCH = replace(ROW, train_seconds=1.5, eval_seconds=0.5)


@pytest.fixture
def plan(tiny, tmp_path):
    """The tiny experiment with two seeds: blocks of four runs of 3 or 2 epochs of 45 images."""
    experiments = [load(tiny, ["experiment.seeds=[0, 1]"])]
    (plan,) = plan_all(experiments, tmp_path / "results", tmp_path, compare=compare_not)
    return plan


def heard(**changes) -> Heartbeat:
    """A heartbeat of just now from another node: in the second epoch, at 10 images a second."""
    now = {"when": datetime.now(UTC), "epoch": 2, "images": 60, "of_images": 135}
    return Heartbeat(
        **ELSEWHERE | {"process_began": 0.0, "images_per_second": 10.0} | now | changes
    )


def leave(plan, run, status: str, epochs: int = 0, heartbeat: Heartbeat | None = None, **more):
    """A run's folder with so many epochs of 2 s each."""
    folder, steps = plan.folder_of(run), run.steps_per_epoch
    folder.mkdir(parents=True)
    ends = [min((epoch + 1) * steps, run.total_steps) for epoch in range(epochs)]
    sha256 = write_epochs(
        folder,
        [
            replace(EPOCH, epoch=epoch + 1, step=step, total_train_seconds=1.5 * (epoch + 1))
            for epoch, step in enumerate(ends)
        ],
    )
    sizes = {"total_steps": run.total_steps, "steps_per_epoch": steps}
    write_record(folder, record(status=status, epochs_sha256=sha256, **sizes, **more))
    if heartbeat is not None:
        write_heartbeat(folder, heartbeat)


@pytest.mark.parametrize(
    ("status", "heartbeat", "expected"),
    [
        ("finished", None, "finished"),
        ("diverged", None, "diverged"),
        ("failed", None, "failed"),
        ("running", None, "stopped"),
        ("running", heard(), "running"),
        ("running", heard(when=datetime.now(UTC) - timedelta(minutes=11)), "lost"),
        # On this system, which knows the process, its age does not matter.
        ("running", heard(system=process.this_system(), process=2**22 + 1), "lost"),
        ("running", heard(system=process.this_system(), process=os.getpid()), "lost"),
        (
            "running",
            heard(
                **process.describe() | {"when": datetime.now(UTC) - timedelta(hours=5)},
            ),
            "running",
        ),
    ],
)
def test_the_status_is_that_of_the_record_and_of_the_process(plan, status, heartbeat, expected):
    """A process with the number of a dead one, but of another time, is another one."""
    run = plan.runs[0]
    leave(plan, run, status, run.epochs, heartbeat, reason="it says why")
    assert state_of(plan, run).status == expected


def test_a_run_without_files_is_to_do_and_one_with_damaged_files_says_so(plan):
    first, second, third, _ = plan.runs[:4]
    leave(plan, second, "running", 1)
    (plan.folder_of(second) / "run.json").write_text("half of it")
    leave(plan, third, "running", 1, heard())
    (plan.folder_of(third) / "heartbeat.json").write_text('{"of": "another version"}')
    assert state_of(plan, first).status == "to do"
    assert state_of(plan, second).status == "unreadable"
    assert "cannot be read" in state_of(plan, second).reason
    assert state_of(plan, third).status == "stopped"


def test_a_heartbeat_with_values_of_another_kind_is_none(plan):
    run = plan.runs[0]
    leave(plan, run, "running", 1, heard(images="some"))
    assert state_of(plan, run).status == "stopped"


def test_a_process_that_must_not_be_seen_is_judged_by_its_age(monkeypatch):
    def hidden(_):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", hidden)
    assert process.has_ended(process.this_system(), 1, 0.0) is None


def test_systems_that_hide_their_start_are_told_apart_by_name(tmp_path, monkeypatch):
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    found = set()
    for node in ("n1", "n2"):
        monkeypatch.setattr(process.platform, "node", lambda node=node: node)
        found.add(process.this_system.__wrapped__(tmp_path))
    assert len(found) == 2


def test_blocks_and_the_time_left(plan):
    """Each of 45 images a 2 s epoch; one under way has its own pace of 10 images a second."""
    whole, half, early, late = plan.chosen[:4]
    assert [run.epochs for run in (whole, half, early, late)] == [3, 2, 3, 3]
    leave(plan, whole, "finished", 3)
    leave(plan, early, "running", 1, heard(images=85))
    leave(plan, late, "failed", 1)
    blocks = states_of([plan])
    pace = Pace(blocks)
    assert [block.title for block in blocks] == ["tiny seed 0", "tiny seed 1"]
    assert blocks[0].counts == {"finished": 1, "to do": 1, "running": 1, "failed": 1}
    left = [pace.seconds_left(blocks[0], state) for state in blocks[0].states]
    assert left == [0, pytest.approx(75 * 2 / 45, rel=0.01), 5.0, pytest.approx(4.0)]
    assert blocks[0].states[2].epoch == 2
    alone = pace.seconds_left_of(blocks[1])
    assert alone == pytest.approx((3 + 75 / 45 + 3 + 3) * 2, rel=0.01)
    assert pace.seconds_left_of_all(blocks) == pytest.approx(sum(left) + alone)
    leave(plan, plan.chosen[4], "running", 0, heard(images=0, images_per_second=None))
    blocks = states_of([plan])
    assert Pace(blocks).seconds_left_of_all(blocks) == pytest.approx(alone), "its block is longest"


def test_nothing_is_known_before_an_epoch_is_trained(plan):
    leave(plan, plan.chosen[0], "running", 0, heard(images=0, images_per_second=None))
    blocks = states_of([plan])
    assert Pace(blocks).seconds_left_of_all(blocks) is None


def test_a_line_a_block_and_what_matters_of_runs(fobench, tiny, plan):
    words = ("status", tiny, "--set", "experiment.seeds=[0, 1]")
    ran = fobench(*words)
    assert "8 runs: 8 to do; time left unknown" in ran.output
    leave(plan, plan.chosen[0], "finished", 3)
    leave(plan, plan.chosen[1], "failed", 1, reason="out of memory:\n\x1b[31m lower")
    leave(plan, plan.chosen[4], "running", 1, heard())
    leave(plan, plan.chosen[5], "running", 1)
    ran = fobench(*words)
    assert ran.exit_code == 0
    head, first, second = [line.split() for line in ran.output.splitlines()[-8:-5]]
    assert head == ["block", "runs", "finished", "running", "stopped", "failed", "to", "do", "left"]
    assert first[:6] == ["tiny", "seed", "0", "4", "1", "1"]
    assert second[:7] == ["tiny", "seed", "1", "4", "1", "1", "2"]
    failed, running, _, totals = ran.output.splitlines()[-4:]
    assert failed.startswith(
        f"failed      tiny/{plan.chosen[1].id}: out of memory:\\n\\x1b[31m lower"
    )
    assert f"{plan.chosen[4].id}: epoch 2 of 3, on n7 (Slurm job 4_2), heard " in running
    assert running.endswith("about 8 s left")
    assert "8 runs: 1 finished, 1 running, 1 stopped, 1 failed, 4 to do; about" in totals
    everything = fobench(*words, "--all").output
    assert all(run.id in everything for run in plan.chosen)


def test_jobs_of_slurm_stand_beside_their_blocks(fobench, tiny, tmp_path, monkeypatch):
    squeue = tmp_path / "bin/squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\necho '12|2|PENDING||Resources'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    lines = fobench("status", tiny, "--set", "experiment.seeds=[0, 1]").output.splitlines()
    head, first, second = lines[-5:-2]
    assert head.endswith("Slurm job")
    assert first.endswith("unknown")
    assert second.endswith("12_2 pending (Resources)")


def test_a_run_is_seen_where_it_is_and_lost_when_its_process_is_killed(fobench, tiny, tmp_path):
    """Through a process of its own: `fobench run` as a user starts it."""
    more = ("--only", "t0.30", "--set", "train.epochs=300")
    words = ["run", tiny, *more, "--device", "cpu", "--results", tmp_path / "results"]
    started = subprocess.Popen([FOBENCH, *map(str, words)], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (found := list(tmp_path.glob("results/tiny/*/heartbeat.json"))):
            assert started.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        assert read_heartbeat(found[0].parent).process == started.pid
        ran = fobench("status", tiny, *more)
        assert f"on {process.describe()['node']}, heard " in ran.output
        assert "1 run: 1 running; " in ran.output
        started.send_signal(signal.SIGKILL)
        started.wait()
        assert "1 run: 1 lost; " in fobench("status", tiny, *more).output
    finally:
        started.kill()
        started.wait()
