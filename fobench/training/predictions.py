"""What a run should take, by the profile of its network and the plan of its stores."""

from dataclasses import dataclass
from typing import Any

from fobench.activations.plan import STORE_NOTHING, StorePlan
from fobench.costs.flops import freeze_steps_of
from fobench.costs.profile import KeptProfile, Profile
from fobench.costs.run_time import count_steps, train_seconds
from fobench.experiment.run import Run


@dataclass(frozen=True)
class Prediction:
    """Predicted seconds of training, of a run and of its baseline."""

    seconds: float
    baseline_seconds: float

    @property
    def saved_percent(self) -> float:
        return 100 * (1 - self.seconds / self.baseline_seconds)


def predict(run: Run, profile: Profile, plan: StorePlan = STORE_NOTHING) -> Prediction:
    """The seconds of a run, which stores activations by the plan."""
    without_stores = run_seconds(run, profile, plan)
    return Prediction(without_stores - plan.seconds_saved, run_seconds(run.baseline_run, profile))


def run_seconds(run: Run, profile: Profile, plan: StorePlan = STORE_NOTHING) -> float:
    """Seconds of training, without what stores save."""
    counts = count_steps(
        freeze_steps_of(run),
        run.total_steps,
        run.steps_per_epoch,
        has_short_batch=run.data_used.train_images % run.train.batch_size > 0,
        builds=plan.builds,
        views=run.method.stores.views or 1,
    )
    return train_seconds(profile, counts)


def describe(run: Run, kept: KeptProfile | None, plan: StorePlan) -> dict[str, Any] | None:
    """The prediction as written to run.json; None without a profile."""
    if kept is None:
        return None
    prediction = predict(run, kept.profile, plan)
    return {
        "saved_percent": prediction.saved_percent,
        "seconds": prediction.seconds,
        "baseline_seconds": prediction.baseline_seconds,
        "step_seconds": kept.profile.step_seconds,
        "file": kept.file,
        "threads": kept.threads,
    }
