"""Which runs of which experiments, in what order, and where. Torch is needed only to train."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fobench import datasets, results
from fobench.config import Experiment
from fobench.datasets import DataSet
from fobench.errors import UserError
from fobench.run import Run, expand, images_needed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """An experiment with its data set at hand: all its runs, and those chosen of them."""

    experiment: Experiment
    dataset: DataSet
    runs: tuple[Run, ...]
    chosen: tuple[Run, ...]
    folder: Path

    def folder_of(self, run: Run) -> Path:
        return self.folder / run.id

    def is_finished(self, run: Run) -> bool:
        return results.is_finished(self.folder_of(run))


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
            plans.append(plan(experiment, results_root, data_root, only))
        except UserError as error:
            problems += [f"{experiment.name}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    if not any(plan.chosen for plan in plans):
        ids = [run.id for plan in plans for run in plan.runs]
        raise UserError(f"--only {only} matches none of the {len(ids)} runs, such as {ids[0]}")
    return plans


def plan(
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
    """Train what is chosen and not finished, one run after another; whether all went well.

    With `force`, finished runs are trained anew.
    """
    from fobench import data, device, environment
    from fobench.execute import execute
    from fobench.progress import Progress

    here = device.choose(device_name)
    for plan in plans:
        require_writable(plan.folder)
    environment.log_machine(here)
    all_well = True
    for plan in plans:
        results.write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
        due = [run for run in plan.chosen if force or not plan.is_finished(run)]
        log.info(
            "%s on %s: %d of %d runs to do",
            *(plan.experiment.name, data_note(plan), len(due), len(plan.chosen)),
        )
        if not due:
            continue
        loaded = data.load(plan.dataset, plan.runs[0].data_used, plan.experiment.data.augment, here)
        for number, run in enumerate(due, start=1):
            log.info("%d/%d %s", number, len(due), run.id)
            status = execute(run, plan.folder_of(run), loaded, here, Progress())
            all_well &= status == "finished"
    return all_well


def data_note(plan: Plan) -> str:
    """The data set used and, if it was not the first asked for, that it was not."""
    first = plan.experiment.data.dataset[0]
    if plan.dataset.name in (first, Path(first).stem):
        return plan.dataset.name
    return f"{plan.dataset.name} (for want of {first})"
