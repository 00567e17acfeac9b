"""What a sweep and its workers, processes that train runs for it, send each other.

A worker also sends the records of its log, as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fobench.costs.profile import KeptProfile
from fobench.data.dataset import DataSet
from fobench.experiment.run import DataUsed, Run
from fobench.records.epochs import Epoch

# To a worker: first the ExecutionOptions, then these; None ends it.


@dataclass(frozen=True)
class Images:
    """The images of the jobs that follow."""

    dataset: DataSet
    used: DataUsed
    augment: str
    place: str


@dataclass(frozen=True)
class Job:
    """A run to train."""

    run: Run
    folder: Path
    checkpoint_every: float
    profile: KeptProfile | None


# From a worker.


@dataclass(frozen=True)
class Started:
    """Training begins, at the start of a run or after the epochs that it resumes from."""

    run: Run
    images: int


@dataclass(frozen=True)
class Trained:
    """Images of the run trained on so far, its current epoch from 1, and its frozen units."""

    images: int
    epoch: int
    frozen: int


@dataclass(frozen=True)
class EpochDone:
    row: Epoch


@dataclass(frozen=True)
class JobDone:
    """The run has ended, whatever its status."""


@dataclass(frozen=True)
class Stop:
    """The worker stops for a signal or the time limit, like `Stopped`."""

    reason: str
    exit_status: int


@dataclass(frozen=True)
class Mistake:
    """The worker stops for a UserError."""

    problems: Sequence[str]


@dataclass(frozen=True)
class DeviceLost:
    """The worker stops as its device does not work any more."""

    reason: str
