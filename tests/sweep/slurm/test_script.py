"""The batch script: what bash and sbatch make of it, whatever is in paths and options."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fobench.errors import UserError
from fobench.sweep.slurm.script import Submission, quoted_for_sbatch, ranges, script_of

# Writes what it was given, and then ends as the variables say.
STAND_IN = """
import json, os, pathlib, sys, time
names = ("OMP_NUM_THREADS", "FOBENCH_LOCK", "FOBENCH_HOST", "WORLD_SIZE", "RANK", "LOCAL_RANK",
         "MASTER_ADDR", "MASTER_PORT")
told = {"words": sys.argv[1:], "folder": os.getcwd(), "process": os.getpid()}
told |= {name: os.environ[name] for name in names if name in os.environ}
rank = os.environ.get("RANK", "0")
pathlib.Path(os.environ["TOLD"], rank).write_text(json.dumps(told))
time.sleep(float(os.environ.get("SLEEP" + rank, 0)))
sys.exit(int(os.environ.get("STATUS" + rank, 0)))
"""
IN_JOB = {
    "SLURMD_NODENAME": "n7",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_JOB_ID": "123456",
    "SLURM_CPUS_ON_NODE": "8",
}
ODD = """a 'b' "c" $HOME `id` * é"""


@pytest.fixture
def submission(tmp_path) -> Submission:
    folder = tmp_path / ODD
    folder.mkdir()
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command = (sys.executable, "-S", str(tmp_path / "stand_in.py"), f"--set={ODD}")
    return Submission("name-1", (1, 2, 5), 6, folder, folder, command, True, 1, ("--time=1:00",))


def run(submission: Submission, **variables: str) -> tuple[int, dict[str, dict]]:
    """The exit status of its script, and what each rank was told."""
    told = submission.folder / "told"
    told.mkdir()
    kept = {"PATH": os.environ["PATH"], "TOLD": str(told)}
    ran = subprocess.run(
        ["bash"], input=script_of(submission), text=True, env=kept | IN_JOB | variables, cwd="/"
    )
    return ran.returncode, {each.name: json.loads(each.read_text()) for each in told.iterdir()}


def test_the_script_is_read_by_people(submission):
    folder = Path("/home/me/sweeps")
    command = ("/venv/bin/python", "-P", "-m", "fobench", "run", "/home/me/sweeps/mine.toml")
    text = script_of(replace(submission, logs=folder / "slurm", folder=folder, command=command))
    assert (
        text
        == """\
#!/bin/bash
#SBATCH --job-name=name-1
#SBATCH --array=1-2,5
#SBATCH --nodes=1
#SBATCH --output="/home/me/sweeps/slurm/%A_%a.log"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --exclusive
# Submitted with: sbatch --time=1:00

# The number of threads is part of what results depend on: as many as Slurm gives.
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}"
# A timed run has its node, or its cards of it, to itself.
export FOBENCH_LOCK="${FOBENCH_LOCK:-\
/tmp/fobench-$SLURMD_NODENAME${SLURM_JOB_GPUS:+-gpu$SLURM_JOB_GPUS}.lock}"
# Nodes can be copies of one image, and a shell's variable would make all of them one.
export FOBENCH_HOST="$SLURMD_NODENAME"

cd /home/me/sweeps || exit
train=(
  /venv/bin/python
  -P
  -m
  fobench
  run
  /home/me/sweeps/mine.toml
  --on=slurm
  --shard="$SLURM_ARRAY_TASK_ID/6"
)
# Python takes the place of this script, so that it gets Slurm's signals.
exec "${train[@]}"
"""
    )


def test_words_arrive_as_they_were_given(submission):
    status, told = run(submission, STATUS0="75")
    assert status == 75
    assert told["0"]["words"] == [f"--set={ODD}", "--on=slurm", "--shard=3/6"]
    assert told["0"]["folder"] == str(submission.folder)


@pytest.mark.parametrize(
    ("variables", "name", "value"),
    [
        ({}, "OMP_NUM_THREADS", "8"),
        ({"SLURM_CPUS_PER_TASK": "2", "OMP_NUM_THREADS": "5"}, "OMP_NUM_THREADS", "2"),
        ({}, "FOBENCH_LOCK", "/tmp/fobench-n7.lock"),
        ({"SLURM_JOB_GPUS": "2,3"}, "FOBENCH_LOCK", "/tmp/fobench-n7-gpu2,3.lock"),
        ({"FOBENCH_LOCK": "/mine"}, "FOBENCH_LOCK", "/mine"),
        ({}, "FOBENCH_HOST", "n7"),
        ({"FOBENCH_HOST": "mine"}, "FOBENCH_HOST", "n7"),
    ],
)
def test_threads_locks_and_hosts_are_what_slurm_says(submission, variables, name, value):
    assert run(submission, **variables)[1]["0"][name] == value


def test_each_process_of_a_run_knows_its_rank(submission):
    status, told = run(replace(submission, processes=3), SLEEP0="0.5", STATUS0="75")
    assert status == 75
    assert sorted(told) == ["0", "1", "2"]
    for rank, each in told.items():
        assert (each["RANK"], each["LOCAL_RANK"], each["WORLD_SIZE"]) == (rank, rank, "3")
        assert each["OMP_NUM_THREADS"] == "2"
        assert (each["MASTER_ADDR"], each["MASTER_PORT"]) == ("127.0.0.1", "23456")
        assert each["words"] == told["0"]["words"]


def test_processes_share_what_their_tasks_get(submission):
    """Not all of the node, which --exclusive gives, and on which other elements may differ."""
    cpus = {"SLURM_CPUS_ON_NODE": "64", "SLURM_CPUS_PER_TASK": "4", "SLURM_NTASKS": "2"}
    told = run(replace(submission, processes=2), SLEEP0="0.5", **cpus)[1]
    assert [each["OMP_NUM_THREADS"] for each in told.values()] == ["4", "4"]


@pytest.mark.parametrize(
    "options", [("--gpus=1",), ("-G", "2"), ("--gres", "gpu:1"), ("--gres=gpu",)]
)
def test_who_asks_for_gpus_gets_these_alone(submission, options):
    assert "--exclusive" not in script_of(replace(submission, options=options))


def test_untimed_runs_share_their_node(submission):
    assert "--exclusive" not in script_of(replace(submission, alone=False))
    assert "--exclusive" in script_of(replace(submission, options=("--partition=gpu",)))


def test_options_stay_in_their_comment(submission):
    text = script_of(replace(submission, options=("--comment=a\nrm -r mine",)))
    assert not [line for line in text.splitlines() if line.startswith("rm")]


@pytest.mark.parametrize("folder", ["a\nb", "a\\b"])
def test_a_folder_that_sbatch_does_not_take_is_a_mistake(submission, folder):
    with pytest.raises(UserError, match="give other --results"):
        script_of(replace(submission, logs=Path(folder)))


def test_values_are_quoted_for_sbatch():
    assert quoted_for_sbatch('a "b"') == '"a \\"b\\""'


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([1], "1"), ([1, 2], "1-2"), ([1, 3, 4, 5, 9], "1,3-5,9"), ([3, 1], "1,3")],
)
def test_numbers_are_written_as_ranges(numbers, text):
    assert ranges(numbers) == text
