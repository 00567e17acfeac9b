"""What trains a sweep: an engine, by its name. Imported when it is used, as some need much.

An engine is a module with `train(plans, options) -> bool`, which trains the chosen runs that have
not ended and returns whether all are finished. It raises Stopped if it is stopped or out of time,
and UserError for what the user can mend.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fobench.sweep.options import SweepOptions
    from fobench.sweep.plan import Plan

HERE = "here"
ENGINES = {
    HERE: "fobench.sweep.here",
    "slurm": "fobench.sweep.slurm.job",
    "ray": "fobench.sweep.ray.start",
}
# Those that ask a cluster, at an address, for resources.
OF_CLUSTERS = {"ray"}


def engine(name: str) -> "Callable[[Sequence[Plan], SweepOptions], bool]":
    """The engine's `train`."""
    return import_module(ENGINES[name]).train
