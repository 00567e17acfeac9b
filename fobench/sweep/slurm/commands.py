"""Slurm's commands: what they know of jobs and nodes, and what they are told to do. No torch.

A job is named as they name it: 12, or 12_3 for an element of an array.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from fobench.errors import UserError

TIMEOUT_SECONDS = 120
TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
# Of sinfo, without its suffixes: a node in one of these runs jobs, or will without anybody's help.
UP = {"idle", "mix", "alloc", "comp", "plnd", "resv"}
NOT_RESPONDING = "*"
# They would change what the commands here print, or override what a script says.
DROPPED = re.compile(
    "SQUEUE_.*|SINFO_.*|SBATCH_(JOB_NAME|ARRAY_INX|OUTPUT|WAIT)|SLURM_(CPUS_PER_TASK|NTASKS)"
)


class SlurmError(UserError):
    """A command of Slurm's is missing, or refused what it was asked."""


@dataclass(frozen=True)
class Element:
    """A job of an array that is queued or running; `nodes` are those that it asks for, if any."""

    array: str
    number: int
    state: str
    nodes: str
    reason: str

    @property
    def id(self) -> str:
        return f"{self.array}_{self.number}"

    @property
    def described(self) -> str:
        """Its state, and why it waits: squeue's word for that, and the node it asks for."""
        waits = ["" if self.reason == "None" else self.reason, self.nodes and f"node {self.nodes}"]
        why = ", ".join(filter(None, waits)) if self.state == "pending" else ""
        return f"{self.state} ({why})" if why else self.state


def elements(name: str) -> list[Element]:
    """The user's elements of arrays of that name. Raises SlurmError."""
    asked = ("-h", "-r", "-u", str(os.getuid()), "-n", name, "-o", "%F|%K|%T|%n|%r")
    lines = [line.split("|", 4) for line in run("squeue", *asked).splitlines()]
    return [
        Element(array, int(number), state.lower(), nodes, reason)
        for array, number, state, nodes, reason in lines
        if number.isdecimal()
    ]


def seconds_left(job: str) -> float:
    """Until the time limit of a running job; infinite without one. Raises SlurmError."""
    return seconds_of(run("squeue", "-h", "-j", job, "-o", "%L"))


def seconds_of(text: str) -> float:
    """A time left as squeue prints it: 1-02:03:04, 2:03:04, 3:04, UNLIMITED, INVALID.

    INVALID is a time that is over. Raises SlurmError for another text.
    """
    text = text.strip()
    if found := TIME.fullmatch(text):
        days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if text in ("UNLIMITED", "NOT_SET"):
        return inf
    if text == "INVALID":
        return 0.0
    raise SlurmError(f"squeue says that the job has {text!r} left, which is no time")


def is_up(node: str) -> bool:
    """Whether a node runs jobs. Raises SlurmError, also for a node that there is not."""
    states = run("sinfo", "-h", "-N", "-n", node, "-o", "%t").split()
    return any(runs_jobs(state) for state in states)


def runs_jobs(state: str) -> bool:
    """Whether a node in this state of `sinfo -o %t`, such as idle~ or mix-, runs jobs."""
    return state.rstrip("*~#!%$@^-+") in UP and NOT_RESPONDING not in state


def requeue(job: str) -> None:
    """End a running job and queue it again; it gets SIGTERM at once. Raises SlurmError."""
    run("scontrol", "requeue", job)


def pin(job: str, node: str) -> None:
    """Let a queued job start on this node alone; on any with "". Raises SlurmError."""
    run("scontrol", "update", f"JobId={job}", f"ReqNodeList={node}")


def submit(script: str, options: Sequence[str]) -> str:
    """Submit a script with these options of sbatch. Returns the job. Raises SlurmError."""
    printed = run("sbatch", "--parsable", *options, given=script, folder=".")
    job = printed.split(";")[0].strip()
    if not job.isdecimal():
        said = f" but {job!r}" if job else ""
        raise SlurmError(
            f"sbatch names no job{said}: leave out options with which it submits nothing"
        )
    return job


def run(name: str, *words: str, given: str | None = None, folder: str | None = None) -> str:
    """What a command prints. Raises SlurmError if it is missing or fails.

    It runs in an empty folder, or in `folder`: scontrol leaves scripts in the current one.
    """
    with tempfile.TemporaryDirectory() as empty:
        try:
            ran = subprocess.run(
                [name, *words],
                input=given or "",
                cwd=folder or empty,
                env={each: value for each, value in os.environ.items() if not DROPPED.match(each)},
                capture_output=True,
                text=True,
                errors="surrogateescape",  # as in paths
                timeout=TIMEOUT_SECONDS,
            )
        except FileNotFoundError as error:
            raise SlurmError(
                f"{name} is not found: give this command on a machine from which jobs are "
                "submitted to Slurm"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise SlurmError(f"{name} has not answered for {TIMEOUT_SECONDS} s") from error
    if ran.returncode:
        said = " ".join(line.strip() for line in ran.stderr.splitlines() if line.strip())
        raise SlurmError(f"{name} failed: {said or f'exit status {ran.returncode}'}")
    return ran.stdout
