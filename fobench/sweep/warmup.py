"""What a warm-up of the learning rates takes from units that freeze early."""

import logging
from collections.abc import Sequence

from fobench.costs.flops import freeze_steps_of
from fobench.experiment.run import Run
from fobench.freezing.schedule import warmup_factor

log = logging.getLogger(__name__)

SAMPLES = 2000  # steps of a run that are looked at
LEAST_SHARE = 0.5


def log_shortened_by_warmup(due: Sequence[Run], name: str) -> None:
    """Warn of methods that freeze with units to which the warm-up leaves less than LEAST_SHARE."""
    for run in {run.method: run for run in due if run.warmup_steps}.values():
        if min(freeze_steps_of(run)) == run.total_steps:
            continue
        kept = share_after_warmup(run)
        few = sum(share < LEAST_SHARE for share in kept)
        if few:
            log.warning(
                "%s: in %s, the warm-up takes up to %.0f %% of what the learning rates of a unit "
                "add up to, and more than half in %d of %d units: what they lose is not due to "
                "freezing; a lower train.warmup_epochs avoids it",
                *(name, run.method.label(), 100 * (1 - min(kept)), few, len(kept)),
            )


def share_after_warmup(run: Run) -> list[float]:
    """The share of the sum of its learning rates that the warm-up leaves to each unit."""
    freeze_steps = freeze_steps_of(run)
    info, start = run.info(len(freeze_steps)), run.method.steps_of_a_start(run.total_steps)
    sums, left = [0.0] * len(freeze_steps), [0.0] * len(freeze_steps)
    for step in range(0, run.total_steps, max(1, run.total_steps // SAMPLES)):
        factor = warmup_factor(step % start, run.warmup_steps)
        for unit, rate in enumerate(run.method.learning_rates(step, info, run.train.lr)):
            if step < freeze_steps[unit]:
                sums[unit] += rate
                left[unit] += factor * rate
    return [each / whole for each, whole in zip(left, sums, strict=True)]
