"""The profile of an experiment's network on this machine: read, or measured and kept."""

import logging
from collections.abc import Sequence

import torch

from fobench.costs.profile import KeptProfile, conditions, path_of, read_profile, write_profile
from fobench.data.split import Data, place_of_images
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.interruption import Deadline
from fobench.machine.remedies import remedy
from fobench.models.user_file import printing_to_stderr
from fobench.records.files import make_folder
from fobench.sweep.plan import Plan
from fobench.training.profiling import measure_profile

log = logging.getLogger(__name__)

MIN_SECONDS_LEFT = 600.0  # of a time limit
MIN_STEPS = 2000  # of a sweep that is worth a profile
DRIFT_PERCENT = 10.0


def kept_profile(plan: Plan, device: torch.device, images: str) -> KeptProfile | None:
    """The profile in the experiment's folder; None if there is none for this machine.

    It is for torch's present number of threads, and for the place of the images. Raises UserError
    for one that is invalid.
    """
    run = plan.runs[0]
    made_for = conditions(run, environment.describe(device, run.train), images)
    path = path_of(plan.folder, made_for)
    found = read_profile(path, run)
    return None if found is None else KeptProfile(found, path.name, torch.get_num_threads())


def planned_place(plan: Plan, device: torch.device, jobs: int = 1) -> str:
    """Where the images of a plan are best now, if that many processes load them."""
    run = plan.runs[0]
    return place_of_images(plan.dataset, run.data_used, run.data.augment, device, jobs)


@printing_to_stderr()
def measured_profile(plan: Plan, data: Data, for_steps: int | None = None) -> KeptProfile:
    """Measure the profile and keep it; the machine must be quiet.

    It takes less than a minute, and little for a training of `for_steps` steps.
    """
    run = plan.runs[0]
    profile = measure_profile(run, data, for_steps)
    if profile.drift_percent > DRIFT_PERCENT:
        log.warning(
            "the speed of the machine changed by %.0f %% while it was measured: other work may "
            "have run beside it",
            profile.drift_percent,
        )
    here = environment.describe(data.train.labels.device, run.train)
    made_for = conditions(run, here, data.place)
    make_folder(plan.folder)
    path = path_of(plan.folder, made_for)
    write_profile(path, profile, run, made_for)
    return KeptProfile(profile, path.name, torch.get_num_threads())


def requested_profile(plan: Plan, data: Data) -> KeptProfile:
    """A new profile.

    Raises UserError for what the user can mend.
    """
    try:
        return measured_profile(plan, data)
    except Exception as error:
        if (known := remedy(error)) is None:
            raise
        raise UserError(f"{plan.experiment.name}: {known} ({error})") from error


def is_worth_a_profile(runs: Sequence[Run], deadline: Deadline) -> bool:
    """Whether the runs take long enough, and there is time enough, for a profile."""
    steps = sum(run.total_steps for run in runs)
    return steps >= MIN_STEPS and deadline.seconds_left >= MIN_SECONDS_LEFT


def profile_for(runs: Sequence[Run], plan: Plan, data: Data) -> KeptProfile | None:
    """A new profile, as long as these runs are worth; None if that fails, as they may, too.

    The machine must be quiet.
    """
    try:
        return measured_profile(plan, data, sum(run.total_steps for run in runs))
    except UserError:
        raise
    except Exception as error:
        known = remedy(error)
        said, found = (error, error) if known is None else (f"{known} ({error})", None)
        log.warning("%s has no profile: %s", plan.experiment.name, said, exc_info=found)
        return None
