"""The chosen runs of each experiment, and their status."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from fobench.data.dataset import DataSet
from fobench.data.find import open_first
from fobench.data.notes import notes_on
from fobench.data.parts import parts_of, require_all_classes
from fobench.errors import UserError, printable
from fobench.experiment.config import Experiment
from fobench.experiment.expand import dataset_title, expand, images_needed
from fobench.experiment.run import DataUsed, Run
from fobench.models import NetworkOptions
from fobench.records.runs import ENDED, status_of
from fobench.sweep.compared import compare_once
from fobench.sweep.shard import WHOLE, Shard

log = logging.getLogger(__name__)

Compare = Callable[[NetworkOptions, DataUsed, Path], None]


@dataclass(frozen=True)
class Plan:
    """An experiment with its data set: all its runs, and those chosen to be trained."""

    experiment: Experiment
    dataset: DataSet
    runs: tuple[Run, ...]
    chosen: tuple[Run, ...]
    folder: Path

    @property
    def title(self) -> str:
        """The experiment and the data set that it uses."""
        used = dataset_title(self.dataset.name, self.experiment.data.dataset)
        return f"{self.experiment.name} on {used}"

    def choose(self, wanted: Callable[[Run], bool]) -> "Plan":
        """The plan restricted to the chosen runs that are wanted."""
        return replace(self, chosen=tuple(run for run in self.chosen if wanted(run)))

    def folder_of(self, run: Run) -> Path:
        return self.folder / run.id

    def status_of(self, run: Run) -> str:
        """The status in its record; "to do" without a record."""
        return status_of(self.folder_of(run)) or "to do"

    def statuses(self) -> dict[Run, str]:
        """The status of each chosen run. Raises UserError with all that are invalid."""
        found, problems = {}, []
        for run in self.chosen:
            try:
                found[run] = self.status_of(run)
            except UserError as error:
                problems += error.problems
        if problems:
            raise UserError(problems)
        return found

    def due(self, force: bool = False) -> list[Run]:
        """The chosen runs that have not ended; with `force`, all of them.

        Raises UserError like `statuses`, unless forced.
        """
        if force:
            return list(self.chosen)
        return [run for run, status in self.statuses().items() if status not in ENDED]

    def missing(self, counterpart: Callable[[Run], Run | None]) -> dict[str, Run]:
        """The counterparts of runs, such as baselines, that the experiment lacks, by id."""
        ids, needed = {run.id for run in self.runs}, filter(None, map(counterpart, self.runs))
        return {run.id: run for run in needed if run.id not in ids}


def plan_all(
    experiments: Sequence[Experiment],
    results_root: Path,
    data_root: Path | None,
    only: Sequence[str] = (),
    shard: Shard = WHOLE,
    compare: Compare = compare_once,
) -> list[Plan]:
    """Find the data and expand the runs of each experiment; log what is unusual about the data.

    `data_root` is None for the default, which is looked for only if a data set is not generated.
    `only` chooses runs whose id contains one of these texts or shell patterns; `shard` chooses
    blocks of runs with the same data set, network and seed, which must stay on one machine to be
    paired.
    `compare` decides whether networks are built and compared with their units.

    Raises UserError with all mismatches, or if a pattern of `only` chooses no run.
    """
    plans, problems = [], []
    for experiment in experiments:
        try:
            plans.append(plan_one(experiment, results_root, data_root, compare))
        except UserError as error:
            problems += [f"{experiment.name}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    log_notes(plans)
    if only:
        plans = choose_matching(plans, only)
    held = {
        (plan.experiment.name, seed)
        for number, (plan, seed) in enumerate(blocks_of(plans))
        if shard.holds(number)
    }
    return [
        plan.choose(lambda run, name=plan.experiment.name: (name, run.seed) in held)
        for plan in plans
    ]


def choose_matching(plans: Sequence[Plan], patterns: Sequence[str]) -> list[Plan]:
    """The plans restricted to what any of the patterns matches.

    Raises UserError with the patterns that match no run.
    """
    ids = [run.id for plan in plans for run in plan.runs]
    found = {each: {id_ for id_ in ids if fnmatchcase(id_, f"*{each}*")} for each in patterns}
    if idle := [each for each, chosen in found.items() if not chosen]:
        raise UserError(
            f"--only {each} matches none of the {len(ids)} runs, such as {ids[0]}" for each in idle
        )
    wanted = set().union(*found.values())
    return [plan.choose(lambda run: run.id in wanted) for plan in plans]


def blocks_of(plans: Sequence[Plan]) -> list[tuple[Plan, int]]:
    """The blocks in their order, as (plan, seed): the runs that must share a machine."""
    return [(plan, seed) for plan in plans for seed in plan.experiment.seeds]


def plan_one(
    experiment: Experiment, results_root: Path, data_root: Path | None, compare: Compare
) -> Plan:
    data = experiment.data
    sizes = images_needed(data), data.test_size, data.image_size
    dataset = open_first(data.dataset, data_root, *sizes)
    if data.shuffle:
        dataset = dataset.shuffled()
    runs = tuple(expand(experiment, dataset))
    used = runs[0].data_used
    require_all_classes(dataset, parts_of(dataset, used))
    if any(run.method.matches_time for run in runs):
        # Torch counts the FLOPs to match.
        from fobench.costs.flops import match_flops

        runs = tuple(match_flops(run) if run.method.matches_time else run for run in runs)
    if any(run.method.stores.plan for run in runs):
        # Torch builds the units, to check which are frozen when.
        from fobench.activations.plan_file import require_valid_plans

        require_valid_plans(runs)
    folder = results_root / experiment.name
    compare(experiment.model, used, folder)
    return Plan(experiment, dataset, runs, runs, folder)


def log_notes(plans: Sequence[Plan]) -> None:
    """Log the notes on the plans' data, once where plans share them."""
    notes = [
        (plan.dataset.name, note)
        for plan in plans
        for note in notes_on(plan.dataset, parts_of(plan.dataset, plan.runs[0].data_used))
    ]
    for name, note in dict.fromkeys(notes):
        log.warning("%s: %s", printable(name), note)
