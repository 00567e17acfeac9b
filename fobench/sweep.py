"""Which runs of which experiments, in what order, and where. Torch is needed only to train."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fobench import datasets, results
from fobench.config import Experiment
from fobench.datasets import DataSet, name_used
from fobench.errors import UserError
from fobench.files import is_there
from fobench.run import Run, expand, images_needed

log = logging.getLogger(__name__)

# A run that diverged would diverge again.
ENDED = ("finished", "diverged")


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

    def folder_of(self, run: Run) -> Path:
        return self.folder / run.id

    def status(self, run: Run) -> str:
        """As its record tells it; "to do" where there is none."""
        return results.status(self.folder_of(run)) or "to do"

    def due(self, force: bool = False) -> list[Run]:
        """The chosen runs that have not ended, or all of them."""
        return [run for run in self.chosen if force or self.status(run) not in ENDED]

    @property
    def lacks_baseline(self) -> bool:
        """Whether some run's time saved cannot be told, for want of the run to compare it with."""
        return not {run.its_baseline.id for run in self.runs} <= {run.id for run in self.runs}


def plan_all(
    experiments: Sequence[Experiment], results_root: Path, data_root: Path, only: str | None = None
) -> list[Plan]:
    """Find the data and expand the runs of each experiment.

    `only` chooses runs whose id holds this text or shell pattern.

    Raises UserError with all that does not fit, or if no run is chosen.
    """
    plans, problems = [], []
    for experiment in experiments:
        try:
            plans.append(plan_one(experiment, results_root, data_root, only))
        except UserError as error:
            problems += [f"{experiment.name}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    if not any(plan.chosen for plan in plans):
        ids = [run.id for plan in plans for run in plan.runs]
        raise UserError(f"--only {only} matches none of the {len(ids)} runs, such as {ids[0]}")
    return plans


def plan_one(
    experiment: Experiment, results_root: Path, data_root: Path, only: str | None = None
) -> Plan:
    data = experiment.data
    dataset = datasets.open_first(data.dataset, data_root, images_needed(data), data.test_size)
    runs = tuple(expand(experiment, dataset))
    chosen = tuple(run for run in runs if only is None or fnmatchcase(run.id, f"*{only}*"))
    return Plan(experiment, dataset, runs, chosen, results_root / experiment.name)


def require_writable(folder: Path) -> None:
    """Make the folder. Raises UserError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
        reason = "no permission"
    except OSError as error:
        writable, reason = False, error.strerror
    if not writable:
        raise UserError(f"{folder} cannot be written ({reason}): give another --results folder")


def carry_out(plans: Sequence[Plan], device_name: str, force: bool = False) -> bool:
    """Train what is chosen and has not ended, one run after another; whether all finished.

    With `force`, runs that have ended are trained anew.
    """
    from fobench import data, device, environment
    from fobench.execute import execute
    from fobench.progress import Progress

    here = device.choose(device_name)
    for plan in plans:
        require_writable(plan.folder)
    environment.log_machine(here)
    # All records are read before any run is trained, so that a damaged one is found at once.
    due_of = [plan.due(force) for plan in plans]
    for plan, due in zip(plans, due_of, strict=True):
        for folder in filter(is_there, map(plan.folder_of, due)):
            require_writable(folder)
        announce(plan, due)
    for plan, due in zip(plans, due_of, strict=True):
        results.write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
        if not due:
            continue
        loaded = data.load(plan.dataset, plan.runs[0].data_used, plan.experiment.data.augment, here)
        for number, run in enumerate(due, start=1):
            log.info("%s %d/%d %s", plan.experiment.name, number, len(due), run.id)
            execute(run, plan.folder_of(run), loaded, here, Progress())
    return all(plan.status(run) == "finished" for plan in plans for run in plan.chosen)


def announce(plan: Plan, due: Sequence[Run]) -> None:
    """Say what will be done, and what the user may not expect."""
    log.info("%s: %d of %d runs to do", plan.title, len(due), len(plan.chosen))
    if plan.lacks_baseline:
        log.warning(
            "%s has no baseline of the whole epochs: time saved cannot be told without one",
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
