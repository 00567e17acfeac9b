"""Submit what is due of an experiment, but for what an earlier submission has under way. No torch.

Each experiment is a job array of its own, found again by its name, which holds a hash of the folder
of its results: so it does not matter with which other experiments it is submitted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fobench.errors import UserError
from fobench.records.experiments import listed_runs, write_experiment
from fobench.records.files import make_folder
from fobench.sweep.plan import Plan
from fobench.sweep.slurm import commands
from fobench.sweep.slurm.commands import Element, SlurmError
from fobench.sweep.slurm.nodes import node_of
from fobench.sweep.slurm.script import Submission, script_of

# What sbatch cannot be given here and why not, by how words of its command line begin.
ITSELF = "`fobench submit` itself gives sbatch"
REFUSED = {
    **dict.fromkeys(("--array", "-a"), f"{ITSELF} an element for each seed that is due"),
    **dict.fromkeys(("--job-name", "-J"), f"{ITSELF} a name by which the job is found again"),
    **dict.fromkeys(("--output", "-o"), f"{ITSELF} a log an element, beside the results"),
    "--wrap": f"{ITSELF} a batch script",
    **dict.fromkeys(
        ("--clusters", "--cluster", "-M"),
        "jobs on another cluster are not found again: submit from a machine of that cluster",
    ),
    **dict.fromkeys(("--wait", "-W"), "`fobench submit` does not wait for jobs to end"),
}


@dataclass(frozen=True)
class Share:
    """What is left of an experiment: the seeds that are due, and the elements under way by seed."""

    plan: Plan
    due: tuple[int, ...]
    under_way: Mapping[int, Element] = field(default_factory=dict)

    @property
    def to_submit(self) -> list[int]:
        """The numbers of the elements to submit, from 1, as those of shares are."""
        seeds = self.plan.experiment.seeds
        return [
            number
            for number, seed in enumerate(seeds, start=1)
            if seed in self.due and seed not in self.under_way
        ]


def due_of(plan: Plan) -> tuple[int, ...]:
    """The seeds with chosen runs that have not ended. Raises UserError like `Plan.due`."""
    due = {run.seed for run in plan.due()}
    return tuple(seed for seed in plan.experiment.seeds if seed in due)


def job_name(plan: Plan) -> str:
    """The name of the job array that trains an experiment into its folder."""
    folder = str(plan.folder.resolve()).encode(errors="surrogateescape")
    return f"{plan.experiment.name}-{hashlib.sha256(folder).hexdigest()[:8]}"


def elements_of(plan: Plan) -> dict[int, Element]:
    """The elements of earlier submissions, queued or running, by their seeds. Raises SlurmError."""
    seeds = plan.experiment.seeds
    found = commands.elements(job_name(plan))
    return {seeds[each.number - 1]: each for each in found if 1 <= each.number <= len(seeds)}


def under_way(plan: Plan) -> dict[int, Element]:
    """The elements of an experiment that are under way, by their seeds.

    Raises UserError if they train other runs, of a config that was edited since; SlurmError.
    """
    found = elements_of(plan)
    # In their order, which tells the seeds of elements.
    if found and listed_runs(plan.folder) != [run.id for run in plan.runs]:
        jobs = ", ".join(sorted({element.array for element in found.values()}))
        raise UserError(
            f"{plan.experiment.name}: its config or data set has changed since job {jobs} was "
            "submitted, which is still under way: wait for it or cancel it, then submit again"
        )
    return found


def free_from_lost_nodes(share: Share) -> list[Element]:
    """Let queued elements start on any node that wait for one which does not run jobs.

    Returns these. A job that stopped waits for the node where its runs began. Raises SlurmError.
    """
    freed = [
        element
        for seed, element in share.under_way.items()
        if element.state == "pending"
        and element.nodes
        and element.nodes == node_of(share.plan, seed)
        and not is_up(element.nodes)
    ]
    for element in freed:
        commands.pin(element.id, "")
    return freed


def is_up(node: str) -> bool:
    try:
        return commands.is_up(node)
    except SlurmError:  # it is not known any more
        return False


def submit(plan: Plan, submission: Submission) -> str:
    """Submit a job array, and list the runs of the experiment. Returns the job.

    Elements whose config is edited later then refuse to train something else.

    Raises UserError if a folder cannot be written, or if sbatch refuses.
    """
    script = script_of(submission)
    make_folder(submission.logs)
    write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
    try:
        return commands.submit(script, submission.options)
    except SlurmError as error:
        if "job array" not in str(error):
            raise
        raise SlurmError(
            f"{error}: the array goes up to {max(submission.numbers)}, and has to stay below the "
            "MaxArraySize that `scontrol show config` tells; give fewer seeds an experiment"
        ) from error


def require_allowed(options: Sequence[str]) -> None:
    """Raises UserError for options of sbatch that do not go together with `fobench submit`."""
    problems = []
    for word in options:
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name in REFUSED:
            problems.append(f"{word}: {REFUSED[name]}; leave it out")
    if problems:
        raise UserError(problems)
