"""The batch script of a job array that trains a sweep, one element a block. Pure, no torch."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fobench.errors import UserError, printable

# Of sbatch, what asks for a GPU: a job gets that alone, not the whole node.
ASKS_FOR_GPU = re.compile(r"(^|\s)(-G|--gpus|--gres[=\s]\S*gpu)")

ONE_PROCESS = """\
# The number of threads is part of what results depend on: as many as Slurm gives.
export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}}"
"""
START_ONE = """\
# Python takes the place of this script, so that it gets Slurm's signals.
exec "${train[@]}"
"""

SEVERAL_PROCESSES = """\
# The number of threads is part of what results depend on: as many as Slurm gives, shared out.
cpus=$SLURM_CPUS_ON_NODE
[ -z "$SLURM_CPUS_PER_TASK" ] || cpus=$(( SLURM_CPUS_PER_TASK * ${{SLURM_NTASKS:-1}} ))
export OMP_NUM_THREADS=$(( cpus < {processes} ? 1 : cpus / {processes} ))
export WORLD_SIZE={processes} MASTER_ADDR=127.0.0.1 MASTER_PORT=$(( 20000 + SLURM_JOB_ID % 10000 ))
"""
START_SEVERAL = """\
# Rank 0 takes the place of this script. Slurm's signals reach all ranks, and these end with rank 0.
for rank in $(seq 1 {last}); do
  RANK=$rank LOCAL_RANK=$rank "${{train[@]}}" &
done
export RANK=0 LOCAL_RANK=0
exec "${{train[@]}}"
"""

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array={numbers}
#SBATCH --nodes=1
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
{exclusive}# Submitted with: {submitted}

{threads}# A timed run has its node, or its cards of it, to itself.
export FOBENCH_LOCK="${{FOBENCH_LOCK:-{lock}}}"
# Nodes can be copies of one image, and a shell's variable would make all of them one.
export FOBENCH_HOST="$SLURMD_NODENAME"

cd {folder} || exit
train=(
  {train}
  --on=slurm
  --shard="$SLURM_ARRAY_TASK_ID/{blocks}"
)
{start}"""
LOCK = "/tmp/fobench-$SLURMD_NODENAME${SLURM_JOB_GPUS:+-gpu$SLURM_JOB_GPUS}.lock"


@dataclass(frozen=True)
class Submission:
    """A job array to submit.

    Attributes:
        name: of the job.
        numbers: of the blocks that are due, from 1, out of `blocks`.
        logs: the folder of its logs.
        folder: where the command is given.
        command: `fobench run` and what it is to train.
        alone: whether nothing else may run on the processors meanwhile.
        processes: that train each run.
        options: of sbatch, as the user gives them.
    """

    name: str
    numbers: Sequence[int]
    blocks: int
    logs: Path
    folder: Path
    command: Sequence[str]
    alone: bool
    processes: int
    options: Sequence[str]


def script_of(submission: Submission) -> str:
    """The batch script. Raises UserError for a folder of logs that sbatch cannot be told."""
    folder = str(submission.logs)
    if "\\" in folder or not folder.isprintable():
        raise UserError(
            f"{folder!r}: sbatch writes no logs into such a folder; give other --results"
        )
    one = submission.processes == 1
    threads, start = (ONE_PROCESS, START_ONE) if one else (SEVERAL_PROCESSES, START_SEVERAL)
    needs_node = submission.alone and not ASKS_FOR_GPU.search(" ".join(submission.options))
    return SCRIPT.format(
        name=submission.name,
        numbers=ranges(submission.numbers),
        log=quoted_for_sbatch(f"{submission.logs}/".replace("%", "%%") + "%A_%a.log"),
        exclusive="#SBATCH --exclusive\n" if needs_node else "",
        submitted=printable(shlex.join(["sbatch", *submission.options])),
        threads=threads.format(processes=submission.processes),
        lock=LOCK,
        folder=shlex.quote(str(submission.folder)),
        train="\n  ".join(map(shlex.quote, submission.command)),
        blocks=submission.blocks,
        start=start.format(last=submission.processes - 1) if not one else start,
    )


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as sbatch takes them: 1-3,5."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in found)


def quoted_for_sbatch(text: str) -> str:
    """A value in a line of #SBATCH: there, words end with a space unless they are quoted."""
    return '"' + text.replace('"', '\\"') + '"'
