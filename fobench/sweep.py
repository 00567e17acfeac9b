"""Which runs of which experiments, in what order, and where. Torch is needed only to train."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from fobench import datasets, results
from fobench.config import Experiment
from fobench.datasets import DataSet, name_used
from fobench.errors import UserError
from fobench.files import is_there, make_folder
from fobench.results import ENDED
from fobench.run import Run, expand, images_needed
from fobench.shard import WHOLE, Shard
from fobench.stopping import Deadline

if TYPE_CHECKING:
    from fobench.pace import Pace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """An experiment with its data set at hand: all its runs, and those chosen of them."""

    experiment: Experiment
    dataset: DataSet
    runs: tuple[Run, ...]
    chosen: tuple[Run, ...]
    folder: Path

    @property
    def title(self) -> str:
        """The experiment and the data set that it uses."""
        used = name_used(self.dataset.name, self.experiment.data.dataset)
        return f"{self.experiment.name} on {used}"

    def choose(self, wanted: Callable[[Run], bool]) -> "Plan":
        """The plan with only those of the chosen runs that are wanted."""
        return replace(self, chosen=tuple(run for run in self.chosen if wanted(run)))

    def folder_of(self, run: Run) -> Path:
        return self.folder / run.id

    def status(self, run: Run) -> str:
        """As its record tells it; "to do" where there is none."""
        return results.status(self.folder_of(run)) or "to do"

    def statuses(self) -> dict[Run, str]:
        """The status of each chosen run. Raises UserError with all that are not sound."""
        found, problems = {}, []
        for run in self.chosen:
            try:
                found[run] = self.status(run)
            except UserError as error:
                problems += error.problems
        if problems:
            raise UserError(problems)
        return found

    def due(self, force: bool = False) -> list[Run]:
        """The chosen runs that have not ended; with `force` all, whatever state they are in.

        Raises UserError as `statuses`, unless forced.
        """
        if force:
            return list(self.chosen)
        return [run for run, is_at in self.statuses().items() if is_at not in ENDED]

    @property
    def lacks_baseline(self) -> bool:
        """Whether some run's time saved cannot be told, for want of the run to compare it with."""
        return not {run.its_baseline.id for run in self.runs} <= {run.id for run in self.runs}

    @property
    def lacks_uncached(self) -> bool:
        """Whether some run that stores activations has none of the same inputs without a store."""
        uncached = {run.its_uncached.id for run in self.runs if run.its_uncached}
        return not uncached <= {run.id for run in self.runs}

    @property
    def lacks_control(self) -> bool:
        """Whether some run of the published VGG has no baseline at a constant rate beside it."""
        controls = {run.its_control.id for run in self.runs if run.its_control}
        return not controls <= {run.id for run in self.runs}


def plan_all(
    experiments: Sequence[Experiment],
    results_root: Path,
    data_root: Path,
    only: str | None = None,
    shard: Shard = WHOLE,
) -> list[Plan]:
    """Find the data and expand the runs of each experiment.

    `only` chooses runs whose id holds this text or shell pattern; `shard` chooses among the blocks
    of runs with one data set, network and seed, which have to stay on one machine to be paired.

    Raises UserError with all that does not fit, or if `only` chooses no run.
    """
    plans, problems = [], []
    for experiment in experiments:
        try:
            plans.append(plan_one(experiment, results_root, data_root))
        except UserError as error:
            problems += [f"{experiment.name}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    if only is not None:
        plans = [plan.choose(lambda run: fnmatchcase(run.id, f"*{only}*")) for plan in plans]
        if not any(plan.chosen for plan in plans):
            ids = [run.id for plan in plans for run in plan.runs]
            raise UserError(f"--only {only} matches none of the {len(ids)} runs, such as {ids[0]}")
    blocks = [(plan, seed) for plan in plans for seed in plan.experiment.seeds]
    held = {
        (plan.experiment.name, seed)
        for number, (plan, seed) in enumerate(blocks)
        if shard.holds(number)
    }
    return [
        plan.choose(lambda run, name=plan.experiment.name: (name, run.seed) in held)
        for plan in plans
    ]


def plan_one(experiment: Experiment, results_root: Path, data_root: Path) -> Plan:
    data = experiment.data
    dataset = datasets.open_first(data.dataset, data_root, images_needed(data), data.test_size)
    runs = tuple(expand(experiment, dataset))
    if any(run.method.match_time for run in runs):
        # Torch counts the FLOPs by which time is matched.
        from fobench import cost

        runs = tuple(cost.match(run) if run.method.match_time else run for run in runs)
    if any(run.method.plan for run in runs if run.method.precompute):
        # Torch counts the units, to tell which are frozen when.
        from fobench import planning

        planning.require_sound(runs)
    return Plan(experiment, dataset, runs, runs, results_root / experiment.name)


def carry_out(
    plans: Sequence[Plan],
    device_name: str,
    deadline: Deadline,
    force: bool = False,
    keep_checkpoints: bool = False,
    sharded: bool = False,
) -> bool:
    """Train what is chosen and has not ended, one run after another; whether all finished.

    With `force`, runs that have ended are trained anew, and none goes on from a checkpoint. With
    `sharded` other processes train the rest of the same runs.

    Raises Stopped where the deadline comes first.
    """
    from fobench import data, device, environment
    from fobench.execute import Terms, drop_spent_checkpoint, execute
    from fobench.pace import Pace, span

    for plan in plans:
        require_one_list(plan, sharded)
    terms = Terms(device.choose(device_name), deadline, 0, keep_checkpoints, anew=force)
    pace = Pace()
    for plan in plans:
        make_folder(plan.folder)
    environment.log_machine(terms.device)
    # All records are read before any run is trained, so that a damaged one is found at once.
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        for folder in filter(is_there, map(plan.folder_of, plan.chosen)):
            make_folder(folder)
        for run in set(plan.chosen) - set(due):
            folder = plan.folder_of(run)
            drop_spent_checkpoint(folder, results.read_record(folder))
            note_pace(pace, run, folder)
        announce(plan, due)
    for plan, due in zip(plans, due_of, strict=True):
        results.write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
        if not due:
            continue
        used, options = plan.runs[0].data_used, plan.experiment
        loaded = data.load(plan.dataset, used, options.data.augment, terms.device)
        for number, run in enumerate(due):
            deadline.require_time()
            left = pace.seconds_for([*due[number:], *later(plan, plans, due_of)])
            note = "" if left is None else f", about {span(left)} left"
            log.info("%s %d/%d %s%s", options.name, number + 1, len(due), run.id, note)
            here = replace(terms, checkpoint_every=options.checkpoint_every)
            execute(run, plan.folder_of(run), loaded, here)
            note_pace(pace, run, plan.folder_of(run))
    return tell_unfinished(plans) == 0


def require_one_list(plan: Plan, sharded: bool) -> None:
    """Raises UserError if other shares of the sweep are of another config or data set."""
    listed = results.runs_listed(plan.folder) if sharded else []
    if listed and set(listed) != {run.id for run in plan.runs}:
        raise UserError(
            f"{plan.folder / 'experiment.json'} lists other runs than this share's sweep: give all "
            "shares the same config and data set, or delete it"
        )


def later(plan: Plan, plans: Sequence[Plan], due_of: Sequence[list[Run]]) -> list[Run]:
    """The runs that are due in the plans after this one."""
    return [run for due in due_of[plans.index(plan) + 1 :] for run in due]


def note_pace(pace: "Pace", run: Run, folder: Path) -> None:
    """Learn from a run that is finished how fast the sweep goes."""
    # Another process may be at it, and have written nothing yet.
    if not is_there(folder / "run.json"):
        return
    read = results.read_run(folder)
    if read.record["status"] == "finished":
        evaluating = sum(epoch.eval_seconds for epoch in read.epochs)
        pace.done(run, read.epochs[-1].total_train_seconds + evaluating)


def tell_unfinished(plans: Sequence[Plan]) -> int:
    """Name the chosen runs that are not finished and say how many there are."""
    unfinished = [
        (plan.folder_of(run), is_at)
        for plan in plans
        for run, is_at in plan.statuses().items()
        if is_at != "finished"
    ]
    for folder, is_at in unfinished:
        log.warning("not finished: %s (%s%s)", folder, is_at, reason_of(folder))
    return len(unfinished)


def reason_of(folder: Path) -> str:
    reason = results.read_record(folder)["reason"] if is_there(folder / "run.json") else None
    return f": {reason}" if reason else ""


def announce(plan: Plan, due: Sequence[Run]) -> None:
    """Say what will be done, and what the user may not expect."""
    log.info("%s: %d of %d runs to do", plan.title, len(due), len(plan.chosen))
    if plan.lacks_baseline:
        log.warning(
            "%s has no baseline of the whole epochs: time saved cannot be told without one",
            plan.experiment.name,
        )
    if plan.lacks_uncached:
        log.warning(
            "%s lacks the control of its stores: the same method with precompute = false",
            plan.experiment.name,
        )
    if plan.lacks_control:
        log.warning(
            '%s lacks the control of the published VGG: a baseline with annealing = "constant"',
            plan.experiment.name,
        )
    for run in plan.chosen:
        if run not in due and plan.status(run) == "diverged":
            log.warning("%s diverged; --force trains it anew", run.id)
    strays = results.runs_of_others(plan.folder, {run.id for run in plan.runs})
    if strays:
        log.warning(
            "%d runs of an earlier config or data set stay in %s, but no longer belong to the "
            "experiment; to keep both, set another experiment.name",
            *(len(strays), plan.folder),
        )
