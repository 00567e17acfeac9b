"""`fobench run` in several processes: the first leads, the others follow it, also in its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fobench.errors import UserError
from fobench.evidence.pairs import machine_of_errors
from fobench.evidence.results import computing_title
from fobench.machine import environment, process_group
from fobench.machine.launch import Launch, launched
from fobench.machine.ranks import LostRankError, Ranks
from fobench.records.runs import read_run
from fobench.sweep import followers, loop
from fobench.sweep.followers import is_first_elsewhere
from fobench.sweep.leader import require_like_machines
from fobench.training import checkpoint
from tests.faults.kills import differences
from tests.freezing.test_parallel import free_port

ONLY = ("--only", "t0.30", "--device", "cpu")
VARIABLES = {
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}
# A terminal's group of processes may have signals ignored.
COMMAND = (
    "import signal\n"
    "for each in (signal.SIGINT, signal.SIGTERM): signal.signal(each, signal.SIG_DFL)\n"
    "from fobench.cli import main; main()"
)
# The second epoch fails in this process alone.
FAILING = """
from fobench.training import loop
train_epoch = loop.train_epoch
def fail(training, epoch, *args):
    if epoch == 1: raise RuntimeError("for the test")
    return train_epoch(training, epoch, *args)
loop.train_epoch = fail
"""


@pytest.fixture
def together(tmp_path, request):
    """Start a command in two processes, as a scheduler does. Returns them, the first one first."""

    def start(*words: str | Path, second: str = "") -> list[subprocess.Popen]:
        port, processes = free_port(), []
        for rank in range(2):
            ours = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
            process = subprocess.Popen(
                [sys.executable, "-c", (second if rank else "") + COMMAND, *map(str, words)],
                cwd=tmp_path,
                env=os.environ | VARIABLES | ours | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            request.addfinalizer(process.kill)
            processes.append(process)
        return processes

    return start


def ends(processes: list[subprocess.Popen]) -> tuple[list[int], list[str]]:
    """The statuses of processes, and all that they wrote."""
    texts = ["".join(process.communicate(timeout=60)) for process in processes]
    return [process.returncode for process in processes], texts


def read_up_to(text: str, process: subprocess.Popen) -> str:
    output = ""
    while text not in output:
        line = process.stderr.readline()
        assert line, output
        output += line
    return output


def folder_of(results: Path) -> Path:
    [folder] = results.glob("tiny/*t0.30*")
    return folder


def test_torchrun_trains_a_run_in_two_processes(tiny, tmp_path):
    """The first one alone writes and tells, and the record says how many there were."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ran = subprocess.run(
        [*launcher, "--nproc-per-node=2", "-m", "fobench", "run", str(tiny), *ONLY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("epoch 3/3: loss") == 1
    assert "2 processes, each with" in ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    folder = folder_of(tmp_path / "results")
    assert sorted(each.name for each in folder.iterdir()) == ["epochs.csv", "run.json"]
    read = read_run(folder)
    assert read.record["environment"]["ranks"] == 2
    assert read.epochs[-1].frozen_units == 6


@pytest.mark.slow
def test_a_failure_in_another_process_is_recorded_and_the_same_command_goes_on(
    together, tiny, tmp_path
):
    statuses, texts = ends(together("run", tiny, *ONLY, second=FAILING))
    assert statuses == [2, 1], texts
    record = json.loads((folder_of(tmp_path / "results") / "run.json").read_text())
    assert record["status"] == "failed"
    assert record["reason"] == "process 1 failed: RuntimeError: for the test"
    [message] = [line for line in texts[0].splitlines() if line.startswith("Error: ")]
    assert f"{record['id']} failed, and its processes are out of step (process 1 failed" in message
    assert "Traceback" not in texts[0]
    assert texts[1].startswith(f"process 1: {record['id']} failed\nTraceback")
    statuses, texts = ends(together("run", tiny, *ONLY))
    assert statuses == [0, 0], texts
    assert texts[1] == ""
    resumed = read_run(folder_of(tmp_path / "results"))
    assert [each["epochs"] for each in resumed.record["resumed_at"]] == [1]


@pytest.mark.slow
def test_a_sweep_in_pieces_by_time_ends_like_one_left_alone(together, tiny, tmp_path):
    """Each start trains one epoch, with stores of float16, which are built anew."""
    storing = (
        '[[method]]\nname = "freezeout"\nscaling = "linear"\nt0 = 0.30\nviews = 1\n'
        "precompute = true\nplan = [[3, 2]]\n"
    )
    tiny.write_text(tiny.read_text().partition("[[method]]")[0] + storing)
    statuses, texts = ends(together("run", tiny, *ONLY, "--results", "alone"))
    assert statuses == [0, 0], texts
    pieces = 0
    while statuses != [0, 0] or not pieces:
        statuses, texts = ends(together("run", tiny, *ONLY, "--time-limit", "1s"))
        pieces += 1
        assert statuses in ([75, 0], [0, 0]), texts
        assert texts[1] == ""
    assert pieces == 3
    one, other = (read_run(folder_of(tmp_path / name)) for name in ("alone", "results"))
    assert one.epochs[-1].cache_bytes > 0
    assert differences(one, other) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_the_others_end_with_the_first_whatever_ends_it(together, tiny, tmp_path, number, status):
    first, second = together("run", tiny, *ONLY, "--set", "train.epochs=9999")
    output = read_up_to("epoch 2/9999", first)
    first.send_signal(number)
    sent = time.monotonic()
    statuses, texts = ends([first, second])
    assert statuses == [status, 0]
    assert time.monotonic() - sent < 10
    assert texts[1] == ""
    assert "Traceback" not in output + texts[0]
    if number != signal.SIGKILL:
        assert f"Stopped by {number.name}: the same command resumes" in texts[0]
    assert checkpoint.read_last(folder_of(tmp_path / "results"))["bits_depend_on"]["ranks"] == 2


@pytest.mark.slow
def test_the_first_ends_if_another_is_killed(together, tiny, tmp_path):
    first, second = together("run", tiny, *ONLY, "--set", "train.epochs=9999")
    read_up_to("epoch 2/9999", first)
    second.kill()
    statuses, texts = ends([first, second])
    assert statuses == [2, -9]
    assert "its processes are out of step (process 1 has ended)" in texts[0]
    assert "Traceback" not in texts[0]
    record = json.loads((folder_of(tmp_path / "results") / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "process 1 has ended")


@pytest.mark.slow
def test_a_process_that_waits_for_one_that_is_lost_does_not_wait_forever():
    """As in a collective on a GPU, which does not notice."""
    waiting = (
        "import sys, time\n"
        "from fobench.machine import process_group\n"
        "from fobench.machine.launch import launched\n"
        "process_group.SECONDS_TO_NOTICE = 0.5\n"
        "process_group.torch.cuda.is_available = lambda: True\n"
        "process_group.take_gpu = lambda launch: None\n"
        "init = process_group.distributed.init_process_group\n"
        "process_group.distributed.init_process_group = lambda _, **rest: init('gloo', **rest)\n"
        "process_group.join(launched(), 'auto')\n"
        "if launched().rank: time.sleep(1); sys.exit(3)\n"
        "time.sleep(60)\n"
    )
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", waiting],
            env=os.environ | VARIABLES | {"RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    statuses, texts = ends(processes)
    assert statuses == [2, 3]
    assert texts[0] == "Error: process 1 has ended: the same command resumes\n"


def test_a_process_that_is_lost_before_training_is_told(fobench, tiny, monkeypatch):
    def lose(*_):
        raise LostRankError("process 1 has ended")

    monkeypatch.setattr(loop, "lead", lose)
    ran = fobench("run", tiny, *ONLY)
    assert ran.exit_code == 2
    assert "Error: process 1 has ended: the same command resumes" in ran.output


def test_a_process_that_cannot_reach_the_first_says_why(monkeypatch):
    """If that goes on, as it waits for this one, or does not notice a failure of NCCL elsewhere."""

    def lose(*_):
        raise LostRankError("NCCL error")

    told, statuses = [], []
    monkeypatch.setattr(followers, "fall_silent", lambda launch: None)
    monkeypatch.setattr(followers, "SECONDS_TO_END", 0.0)
    monkeypatch.setattr(process_group, "join", lose)
    monkeypatch.setattr(process_group, "report_failure", told.append)
    monkeypatch.setattr(os, "_exit", statuses.append)
    followers.follow_first(Launch(1, 2, 1), "cpu")
    assert (told, statuses) == (["NCCL error"], [0])


@pytest.mark.slow
def test_a_mistake_of_the_user_is_told_once(together, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("epochs = 3", "epochs = 0"))
    statuses, texts = ends(together("run", tiny))
    assert statuses == [2, 0]
    assert "epochs = 0" in texts[0]
    assert texts[1] == ""


@pytest.mark.slow
def test_processes_that_do_not_come_are_told(tiny, tmp_path):
    prelude = (
        "from fobench.machine import process_group\nprocess_group.SECONDS_TO_JOIN = 1.0\n" + COMMAND
    )
    ours = VARIABLES | {"RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": str(free_port())}
    ran = subprocess.run(
        [sys.executable, "-c", prelude, "run", str(tiny)],
        cwd=tmp_path,
        env=os.environ | ours,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "Error: 1 of 2 processes did not come within 1 s: start all" in ran.stderr


def test_the_launcher_says_which_process_this_is():
    assert launched({}) == launched({"WORLD_SIZE": "1"}) == Launch()
    assert launched(VARIABLES) == Launch(1, 2, 1, ("localhost", 29500))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"RANK": ""}, "RANK is not set: start the processes with torchrun"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        (
            {"RANK": "2"},
            "RANK = 2, LOCAL_RANK = 1, MASTER_PORT = 29500 cannot be: ranks count from",
        ),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE = two: give a number"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK = -1: give a number"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT = 70000 cannot be"),
    ],
)
def test_a_launcher_that_contradicts_itself_is_refused(changes, problem):
    with pytest.raises(UserError, match=problem):
        launched(VARIABLES | changes)


@pytest.mark.parametrize(("rank", "status"), [("0", 2), ("1", 0)])
def test_predictions_are_made_in_one_process(fobench, tiny, monkeypatch, rank, status):
    for name, value in (VARIABLES | {"RANK": rank, "LOCAL_RANK": rank}).items():
        monkeypatch.setenv(name, value)
    ran = fobench("predict", tiny)
    assert ran.exit_code == status
    assert ("works in one process, and 2 were started together" in ran.output) == (rank == "0")


def test_several_runs_at_once_are_refused(fobench, tiny, monkeypatch):
    monkeypatch.setattr(process_group, "join", lambda *_: None)
    for name, value in (VARIABLES | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    ran = fobench("run", tiny, "--jobs", "2", "--on", "ray")
    assert ran.exit_code == 2
    for given in ("--jobs 2", "--on ray"):
        assert f"{given}: the 2 processes that were started train one run together" in ran.output


def test_parts_of_one_image_are_refused(fobench, tiny, monkeypatch):
    """Of the last batch, of 5 images, the third process gets one."""
    monkeypatch.setattr(loop, "current", lambda: Ranks(0, 3))
    ran = fobench("run", tiny, *ONLY)
    assert ran.exit_code == 2
    assert "of a batch of 5 images, some of 3 processes get fewer than 2" in ran.output


def test_a_run_resumes_with_as_many_processes_as_it_began(victim, monkeypatch, caplog):
    victim.cut_off(1)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "current", lambda: Ranks(0, 2))
        ran = victim.run()
    assert ran.exit_code == 1
    assert "was made with ranks 1 (here 2), so the run cannot resume exactly" in caplog.text
    ran = victim.run()
    assert ran.exit_code == 0
    victim.require_its_end(resumed_after=1)


def test_ranks_must_be_on_machines_of_one_kind_with_a_card_each():
    here = environment.describe(torch.device("cpu")) | {"ranks": 2}
    require_like_machines([here, here | {"commit": "another"}])
    with pytest.raises(UserError, match=r"process 1 has threads 99 \(of the first: "):
        require_like_machines([here, here | {"threads": 99}])
    cards = [here | {"gpu_uuid": card} for card in ("a", "b")]
    require_like_machines(cards)
    with pytest.raises(UserError, match="2 processes have 1 GPUs"):
        require_like_machines([cards[0], cards[0]])


def test_one_rank_of_each_host_locks_it_but_on_the_first_ones():
    hosts = ["a", "a", "b", "b", "c"]
    ranks = [Ranks(rank, 5, hosts) for rank in range(5)]
    assert [is_first_elsewhere(each) for each in ranks] == [False, False, True, False, True]
    assert [each.on_this_host for each in ranks] == [2, 2, 2, 2, 1]


def test_runs_are_compared_with_those_of_as_many_processes(tiny_results):
    record = read_run(next(tiny_results.glob("*t0.30*"))).record
    here = record["environment"]
    assert here["ranks"] == 1
    earlier = record | {"environment": {key: here[key] for key in here if key != "ranks"}}
    several = record | {"environment": here | {"ranks": 4}}
    assert machine_of_errors(earlier) == machine_of_errors(record) != machine_of_errors(several)
    assert computing_title(several["environment"]) == f"{computing_title(here)}, 4 processes"
