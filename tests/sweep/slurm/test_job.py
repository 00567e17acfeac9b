"""The engine within a job: its time limit, its node, and its way back into the queue."""

import logging
import math
import signal
from dataclasses import replace

import pytest

from fobench.errors import UserError
from fobench.experiment.config import load_all
from fobench.machine.interruption import EXIT_TIME_LIMIT, Deadline, Stopped
from fobench.records.files import make_folder
from fobench.sweep import here
from fobench.sweep.compared import compare_not
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import plan_all
from fobench.sweep.slurm.commands import SlurmError, runs_jobs, seconds_of
from fobench.sweep.slurm.job import MARGIN_SECONDS, train
from fobench.sweep.slurm.nodes import node_of, write_node

OPTIONS = SweepOptions("cpu", Deadline(None))


@pytest.fixture
def plans(tiny, tmp_path):
    return plan_all(load_all([tiny]), tmp_path / "results", None, compare=compare_not)


@pytest.fixture
def in_job(slurm, monkeypatch):
    """Element 3 of job 12, on node n1, with an hour left."""
    for name, value in {
        "SLURM_JOB_ID": "15",
        "SLURM_ARRAY_JOB_ID": "12",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURMD_NODENAME": "n1",
    }.items():
        monkeypatch.setenv(name, value)
    slurm.answer("squeue", "1:00:00\n")
    slurm.answer("sinfo", "idle\nidle\n")
    return slurm


@pytest.fixture
def trained(monkeypatch):
    """The options with which runs would have been trained, and what ends that."""
    calls = []

    def stand_in(plans, options):
        calls.append(options)
        if calls[0] is not options or not ends:
            return True
        raise ends[0]

    ends = []
    monkeypatch.setattr(here, "train", stand_in)
    return calls, ends


def begin_on(node: str, plans) -> None:
    """As if the block had been begun there."""
    (plan,) = plans
    write_node(plan, 0, node)
    make_folder(plan.folder_of(plan.runs[0]))
    # `node_of` asks whether there is a record; `due`, what it says.
    record = plan.folder_of(plan.runs[0]) / "run.json"
    record.write_text("{}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:03:04\n", 93784),
        ("2:03:04", 7384),
        ("03:04", 184),
        ("0:00", 0),
        ("INVALID", 0),
        ("UNLIMITED", math.inf),
        ("NOT_SET", math.inf),
    ],
)
def test_times_left_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "4", "1-2", "soon"])
def test_other_texts_are_no_times(text):
    with pytest.raises(SlurmError, match="no time"):
        seconds_of(text)


@pytest.mark.parametrize(
    "state", ["idle", "mix", "alloc", "comp", "idle~", "mix-", "alloc#", "resv"]
)
def test_nodes_that_run_jobs_are_up(state):
    assert runs_jobs(state)


@pytest.mark.parametrize(
    "state", ["down", "down*", "idle*", "drain", "drng", "fail", "maint", "unk"]
)
def test_others_are_not(state):
    assert not runs_jobs(state)


def test_outside_of_a_job_there_is_a_message(plans, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="give `fobench submit` the same configs"):
        train(plans, OPTIONS)


def test_force_would_never_end(plans, in_job):
    with pytest.raises(UserError, match="each restart of the job"):
        train(plans, replace(OPTIONS, force=True))


def test_the_deadline_is_the_jobs_less_a_margin(plans, in_job, trained):
    calls, _ = trained
    assert train(plans, OPTIONS)
    assert calls[0].deadline.seconds_left == pytest.approx(3600 - MARGIN_SECONDS, abs=5)
    # As one of a job array, it is a share of a sweep, even the only one.
    assert calls[0].sharded
    own = Deadline(100.0)
    train(plans, replace(OPTIONS, deadline=own))
    assert calls[1].deadline is own
    train(plans, replace(OPTIONS, deadline=Deadline(7200.0)))
    assert calls[2].deadline.seconds_left == pytest.approx(3600 - MARGIN_SECONDS, abs=5)


def test_an_unknown_time_limit_is_told(plans, in_job, trained, caplog):
    in_job.refuse("squeue", "error: no controller")
    assert train(plans, OPTIONS)
    assert trained[0][0].deadline.seconds_left == math.inf
    assert "trains without a time limit" in caplog.text


def test_a_block_belongs_to_the_node_where_it_begins(plans, in_job, trained):
    assert train(plans, OPTIONS)
    (plan,) = plans
    assert (plan.folder / "slurm" / "seed0.node").read_text() == "n1\n"
    # Without a record, nothing was begun.
    assert node_of(plan, 0) is None
    begin_on("n1", plans)
    assert node_of(plan, 0) == "n1"


def test_it_leaves_for_the_node_where_the_block_began(plans, in_job, trained, due):
    begin_on("n2", plans)
    with pytest.raises(Stopped, match="a requeue onto node n2") as stopped:
        train(plans, OPTIONS)
    assert stopped.value.exit_status == EXIT_TIME_LIMIT
    assert in_job.asked[-2:] == [
        "scontrol requeue 12_3",
        "scontrol update JobId=12_3 ReqNodeList=n2",
    ]
    assert not trained[0]
    # Slurm ends the job's processes, which need time for the second command.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert node_of(plans[0], 0) == "n2"


def test_it_trains_here_if_that_node_is_down(plans, in_job, trained, due, caplog):
    begin_on("n2", plans)
    in_job.answer("sinfo", "down*\n")
    assert train(plans, OPTIONS)
    assert "node n2, where these runs began, is down" in caplog.text
    assert "not paired" in caplog.text
    # Once it is back, it goes there again.
    assert node_of(plans[0], 0) == "n2"


def test_it_trains_here_if_it_cannot_be_queued(plans, in_job, trained, due, caplog):
    before = signal.getsignal(signal.SIGTERM)
    begin_on("n2", plans)
    in_job.refuse("scontrol", "error: Requested operation is presently disabled")
    assert train(plans, OPTIONS)
    assert "cannot be queued again: scontrol failed: error: Requested" in caplog.text
    assert signal.getsignal(signal.SIGTERM) == before


def test_it_leaves_only_once_for_a_node_that_is_refused(plans, in_job, trained, due, monkeypatch):
    begin_on("n2", plans)
    told = []

    def pin(job: str, node: str) -> None:
        told.append(node)
        if node == "n2":
            raise SlurmError("scontrol failed: Invalid node name specified")

    monkeypatch.setattr("fobench.sweep.slurm.commands.pin", pin)
    with pytest.raises(Stopped):
        train(plans, OPTIONS)
    assert told == ["n2", "n1"]
    assert node_of(plans[0], 0) == "n1"


def test_untimed_runs_are_trained_anywhere(plans, in_job, trained):
    begin_on("n2", plans)
    assert train(plans, replace(OPTIONS, beside_others=True))
    assert in_job.asked == ["squeue -h -j 12_3 -o %L"]


def test_out_of_time_it_queues_itself_for_its_node(plans, in_job, trained):
    trained[1].append(Stopped("the time limit", EXIT_TIME_LIMIT))
    with pytest.raises(Stopped):
        train(plans, OPTIONS)
    assert in_job.asked[-2:] == [
        "scontrol requeue 12_3",
        "scontrol update JobId=12_3 ReqNodeList=n1",
    ]


@pytest.mark.parametrize("beside_others", [True, False])
def test_it_waits_for_no_node_but_its_blocks(plans, in_job, trained, due, beside_others):
    """`fobench submit` frees only who waits for that, once it is down."""
    begin_on("n2", plans)
    in_job.answer("sinfo", "down*\n")
    trained[1].append(Stopped("the time limit", EXIT_TIME_LIMIT))
    with pytest.raises(Stopped):
        train(plans, replace(OPTIONS, beside_others=beside_others))
    assert in_job.asked[-1] == "scontrol requeue 12_3"


def test_an_empty_file_names_no_node(plans):
    begin_on("", plans)
    assert node_of(plans[0], 0) is None


@pytest.mark.parametrize(("left", "said"), [("0:00", True), ("10:00", False)])
def test_after_a_signal_it_does_not_queue_itself(plans, in_job, trained, left, said, caplog):
    """Slurm does, but not at the time limit: an element that none fits into would never end."""
    caplog.set_level(logging.INFO)
    in_job.answer("squeue", left)
    trained[1].append(Stopped("SIGTERM", 143))
    with pytest.raises(Stopped):
        train(plans, OPTIONS)
    assert ("if no epoch fits into the limit, with a longer --time" in caplog.text) is said
    assert not [each for each in in_job.asked if each.startswith("scontrol")]


@pytest.fixture
def due(monkeypatch):
    """All runs are, whatever their records say."""
    monkeypatch.setattr("fobench.sweep.plan.Plan.due", lambda plan, force=False: list(plan.chosen))


@pytest.fixture(autouse=True)
def _signals_as_before():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
