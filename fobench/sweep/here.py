"""Train a sweep on this machine."""

from collections.abc import Sequence

from fobench.machine.lock import machine_lock
from fobench.sweep.loop import train_all
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan
from fobench.training.progress import RunProgress


def train(
    plans: Sequence[Plan], options: SweepOptions, progress: RunProgress | None = None
) -> bool:
    """Train the runs once the machine can be had. Returns whether all are finished.

    The progress of runs one after another is shown here, unless `progress` receives it.

    Raises like `machine_lock` and `train_all`.
    """
    with machine_lock(options.wait, options.deadline, shared=not options.timed) as machine:
        return train_all(plans, options, machine, progress)
