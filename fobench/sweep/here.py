"""Train a sweep on this machine."""

from collections.abc import Sequence

from fobench.machine.lock import machine_lock
from fobench.sweep.loop import train_all
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan


def train(plans: Sequence[Plan], options: SweepOptions) -> bool:
    """Train the runs once the machine can be had. Returns whether all are finished.

    Raises like `machine_lock` and `train_all`.
    """
    with machine_lock(options.wait, options.deadline, shared=not options.timed) as machine:
        return train_all(plans, options, machine)
