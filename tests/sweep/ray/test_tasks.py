"""The driver's view of its tasks, and a task's checks, without a cluster."""

import math
import os
import time
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

import fobench
from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.machine.interruption import Deadline, Stopped
from fobench.machine.process import job_of
from fobench.sweep.display import Lines
from fobench.sweep.messages import EpochDone, JobDone, Mistake, Started, Stop
from fobench.sweep.options import SweepOptions
from tests.records.test_runs import ROW

pytest.importorskip("ray", reason="Ray is not installed")
from ray.exceptions import RaySystemError, RayTaskError

from fobench.sweep.ray import driver, hosts, task, tasks
from fobench.sweep.ray.mailbox import Mailbox, Sent
from fobench.sweep.ray.task import Began, Block, BlockDone
from fobench.sweep.ray.tasks import MAX_LOSSES, Ended, Tasks, Work

# Ray takes seconds to import, and is not among what CI installs.
pytestmark = pytest.mark.slow


@pytest.fixture
def run(tiny):
    return expand(load(tiny), open_synthetic("synthetic", 55, 20))[0]


@pytest.fixture
def cancelled(monkeypatch) -> list:
    found = []
    monkeypatch.setattr(tasks.ray, "cancel", lambda task, force=False: found.append((task, force)))
    return found


def watched(run, *messages: object, seconds: float | None = None) -> tuple[Tasks, Work]:
    """The tasks of one block, after all that came from it."""
    plan = SimpleNamespace(experiment=SimpleNamespace(name="tiny"))
    work = Work(1, plan, 0, [run, run], task="its task")
    found = Tasks([work], SweepOptions("cpu", Deadline(seconds)), Lines())
    found._left = {1}
    for message in messages:
        found._inbox.put(message if isinstance(message, Ended) else Sent(1, message))
    found.watch()
    return found, work


def ended(result: object) -> Ended:
    future = Future()
    future.set_result(result)
    return Ended(1, future)


def test_a_block_whose_worker_is_lost_without_an_epoch_is_given_up(run, cancelled, caplog):
    """Else it would be started again for ever."""
    began = [Began("n1")] * MAX_LOSSES
    _, work = watched(run, *began, ended(BlockDone(True)))
    assert work.is_finished
    assert not cancelled
    epoch = [Started(run, 0), EpochDone(ROW)]
    _, work = watched(run, *began, *epoch, *began[1:], ended(BlockDone(True)))
    assert work.is_finished, "it advances"
    assert not cancelled
    assert "goes on on n1, from the last checkpoint" in caplog.text
    _, work = watched(run, *began, Began("n2"), ended(None))
    assert not work.is_finished
    assert cancelled == [("its task", True)]
    assert f"is given up: its worker was lost {MAX_LOSSES} times" in caplog.text


def test_what_a_task_returns_ends_the_sweep_or_its_block(run):
    found, work = watched(run, ended(BlockDone(False)))
    assert not work.is_finished
    assert found.out_of_time is None
    found, _ = watched(run, ended(Stop("the time limit", 75)))
    assert found.out_of_time.exit_status == 75
    with pytest.raises(UserError, match="the disk is full"):
        watched(run, ended(Mistake(["the disk is full"])))
    with pytest.raises(Stopped):
        watched(run, ended(Stop("SIGINT", 130)))


@pytest.mark.parametrize("unfinished", [0, 1])
def test_a_run_that_diverged_before_leaves_the_sweep_unfinished(monkeypatch, unfinished):
    """Its block has nothing to do, so no task tells of it."""
    done = SimpleNamespace(due=[None], is_finished=True)
    monkeypatch.setattr(driver, "due_blocks", lambda plans: [done])
    monkeypatch.setattr(driver, "connected", lambda address: nullcontext())
    monkeypatch.setattr(driver, "log_cluster", lambda *_: None)
    monkeypatch.setattr(driver, "log_unfinished", lambda plans: unfinished)
    tasks = SimpleNamespace(start=lambda: None, watch=lambda: None, out_of_time=None)
    monkeypatch.setattr(driver, "Tasks", lambda *_: nullcontext(tasks))
    options = SweepOptions("cpu", Deadline(None), address="local")
    assert driver.train_blocks([], options) == (unfinished == 0)


def test_a_node_without_fobench_is_a_mistake(run):
    """Which Ray finds before the task can compare versions."""
    result = Future()
    unread = RaySystemError(ModuleNotFoundError("No module named 'fobench'"), "a traceback")
    result.set_exception(RayTaskError("train_block", "a traceback", unread).as_instanceof_cause())
    with pytest.raises(UserError, match=r"'fobench'\): install the same fobench on all nodes"):
        watched(run, Ended(1, result))


def test_runs_and_the_time_left_are_counted(run, caplog):
    caplog.set_level("INFO")
    last = replace(ROW, epoch=3, step=run.total_steps)
    watched(run, Began("n1"), Started(run, 0), EpochDone(last), JobDone(), ended(BlockDone(True)))
    assert "1 of 2 runs done, about 3 s left" in caplog.text


def test_runs_that_fail_without_a_word_and_those_tried_again_are_counted_once(tiny, caplog):
    caplog.set_level("INFO")
    runs = expand(load(tiny), open_synthetic("synthetic", 55, 20))
    first, _, third, _ = runs
    work = Work(1, SimpleNamespace(experiment=SimpleNamespace(name="tiny")), 0, runs)
    found = Tasks([work], SweepOptions("cpu", Deadline(None)), Lines())
    found._left = {1}
    trains = [Started(first, 0), JobDone(), Started(third, 0)]
    done = BlockDone(False)
    for message in [Began("n1"), *trains, Began("n2"), *trains, JobDone(), done]:
        found._inbox.put(Sent(1, message))
    found._inbox.put(ended(done))
    found.watch()
    shown = [each.partition(",")[0] for each in caplog.messages if each.endswith("runs done")]
    assert shown == [f"{done} of 4 runs done" for done in (1, 1, 3, 4)]


def test_a_heartbeat_names_the_job_of_a_worker_that_ray_started_in_advance(tmp_path, monkeypatch):
    """Its variable is of no job."""
    monkeypatch.chdir(tmp_path)  # and back in the end
    monkeypatch.setenv("RAY_JOB_ID", "ffffffff")
    context = SimpleNamespace(get_job_id=lambda: "01000000")
    monkeypatch.setattr(task.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(task.ray, "get", lambda _: SimpleNamespace(folder=tmp_path / "elsewhere"))
    block = Block(1, None, 0, None, math.inf, 1, tmp_path, fobench.__version__)
    with pytest.raises(UserError, match="all nodes share"):
        task.train(block, None)
    assert job_of(os.environ) == "Ray job 01000000"


def test_who_waits_for_a_node_waits_no_longer_than_the_time_limit(run, cancelled, monkeypatch):
    """One that was heard is about to stop by itself."""
    stop = ended(Stop("the time limit", 75))
    found, work = watched(run, Began("n1"), stop, seconds=-1.0)
    assert not work.is_given_up
    assert not cancelled
    monkeypatch.setattr(tasks.ray, "cancel", lambda task, force: found._inbox.put(ended(None)))
    work = Work(1, work.plan, 0, [run], task="its task")
    found = Tasks([work], SweepOptions("cpu", Deadline(-1.0)), Lines())
    found._left = {1}
    found.watch()
    assert work.is_given_up
    assert found.out_of_time.exit_status == 75


def test_messages_come_in_their_order_and_once():
    mailbox = Mailbox()
    mailbox.put(1)
    mailbox.put(2)
    assert mailbox.take() == [1, 2]
    assert mailbox.take() == []


def test_a_task_refuses_another_version_and_results_that_its_node_does_not_see(tmp_path):
    block = Block(1, None, 0, None, time.time() + 60, 1, tmp_path, "0.0.1")
    with pytest.raises(UserError, match=f"has fobench {fobench.__version__}, and the sweep"):
        task.train(block, None)
    with pytest.raises(UserError, match="give a --results folder that all nodes share"):
        task.require_shared(tmp_path / "elsewhere")


def test_data_that_a_node_does_not_see_are_a_mistake(monkeypatch):
    """Which is found while Ray reads the plan."""

    def missing(_):
        raise RaySystemError(UserError("images.npz is not there any more"))

    monkeypatch.setattr(task.ray, "get", missing)
    with pytest.raises(UserError, match="is not there any more"):
        task.received(None)


def test_a_task_that_starts_after_the_time_limit_trains_nothing(tmp_path):
    block = Block(1, None, 0, None, time.time() - 1, 1, tmp_path, fobench.__version__)
    assert task.train(block, None) == Stop("the time limit", 75)


def test_a_run_that_a_lost_worker_still_trains_is_waited_for(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    free = iter([False, False, True])
    monkeypatch.setattr(task, "is_free", lambda _: next(free))
    monkeypatch.setattr(task, "POLL_SECONDS", 0.0)
    task.wait_for_lost_workers([tmp_path], Deadline(None))
    assert not caplog.messages, "without a heartbeat there is none"
    (tmp_path / "heartbeat.json").touch()
    task.wait_for_lost_workers([tmp_path], Deadline(None))
    assert len(caplog.messages) == 1
    assert next(free, "all asked") == "all asked"


def test_a_block_that_was_begun_goes_to_its_node_if_that_answers(tiny, tmp_path, monkeypatch):
    runs = expand(load(tiny), open_synthetic("synthetic", 55, 20))
    plan = SimpleNamespace(runs=runs, folder_of=lambda run: tmp_path / run.id)
    monkeypatch.setattr(hosts, "nodes_by_host", lambda: pytest.fail("none was begun"))
    assert hosts.places_of([(plan, 0)]) == ["DEFAULT"]
    (tmp_path / runs[2].id).mkdir()
    (tmp_path / runs[2].id / "run.json").touch()
    monkeypatch.setattr(hosts, "read_record", lambda _: {"environment": {"host": "h2"}})
    monkeypatch.setattr(hosts, "nodes_by_host", lambda: {"h1": "a" * 56, "h2": "b" * 56})
    begun, other = hosts.places_of([(plan, 0), (plan, 1)])
    assert (begun.node_id, begun.soft, other) == ("b" * 56, True, "DEFAULT")
    monkeypatch.setattr(hosts, "nodes_by_host", lambda: {"h1": "a" * 56})
    assert hosts.places_of([(plan, 0)]) == ["DEFAULT"]
