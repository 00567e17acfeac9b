"""The profile of an experiment's network on this machine: read, or measured and kept."""

import logging

from fobench.costs.profile import KeptProfile, conditions, path_of, read_profile, write_profile
from fobench.data.split import Data
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.memory import is_out_of_memory
from fobench.records.files import make_folder
from fobench.sweep.plan import Plan
from fobench.training.profiling import measure_profile

log = logging.getLogger(__name__)

# A shorter sweep is done before its profile would be worth its time.
MIN_STEPS = 500
DRIFT_PERCENT = 10.0


def kept_profile(plan: Plan, data: Data) -> KeptProfile | None:
    """The profile in the experiment's folder; None if there is none for this machine.

    Raises UserError for one that is invalid.
    """
    run = plan.runs[0]
    made_for = conditions_here(run, data)
    path = path_of(plan.folder, made_for)
    found = read_profile(path, run)
    return None if found is None else KeptProfile(found, path.name, made_for["machine"]["threads"])


def measured_profile(plan: Plan, data: Data, for_steps: int | None = None) -> KeptProfile:
    """Measure the profile and keep it; the machine must be quiet.

    It takes about half a minute, and less for a training of `for_steps` steps.
    """
    run = plan.runs[0]
    profile = measure_profile(run, data, for_steps)
    if profile.drift_percent > DRIFT_PERCENT:
        log.warning(
            "the speed of the machine changed by %.0f %% while it was measured: other work may "
            "have run beside it",
            profile.drift_percent,
        )
    made_for = conditions_here(run, data)
    make_folder(plan.folder)
    path = path_of(plan.folder, made_for)
    write_profile(path, profile, run, made_for)
    return KeptProfile(profile, path.name, made_for["machine"]["threads"])


def profile_for(plan: Plan, data: Data, due: list[Run]) -> KeptProfile | None:
    """The kept profile, or a new one if the due runs are worth it; None without.

    The machine must be quiet.
    """
    steps = sum(run.total_steps for run in due)
    found = kept_profile(plan, data)
    if found is not None or steps < MIN_STEPS:
        return found
    try:
        return measured_profile(plan, data, steps)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        log.warning("%s: no memory to measure its profile (%s)", plan.experiment.name, error)
        return None


def conditions_here(run: Run, data: Data) -> dict[str, object]:
    return conditions(run, environment.describe(data.train.labels.device, run.train))
