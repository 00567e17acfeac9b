"""Epochs that took far longer than their work explains, as if the process had been stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median_low

from fobench.evidence.pairs import machine
from fobench.evidence.store_savings import seconds_by_epoch
from fobench.records.epochs import Epoch
from fobench.records.runs import RunResult

# An epoch is too long if it exceeds what is expected by more than both of these.
LONG_RATIO = 1.5
LONG_SECONDS = 0.5


@dataclass(frozen=True)
class LongEpoch:
    """An epoch, how long it took and how long others of equal work, or of more, take."""

    run_id: str
    epoch: int
    seconds: float
    expected: float


@dataclass(frozen=True)
class Work:
    """What must be equal for two epochs to be equal work.

    `steps` is the number of steps in which each unit is trained, `cut` the number of units whose
    activations come from a store, `built_from` the cut that the epoch's store is built from; None
    if none is built.
    """

    setting: str
    steps: tuple[int, ...]
    cut: int
    built_from: int | None

    def includes(self, other: "Work") -> bool:
        """Whether it is at least the other work, leaving aside what stores cost."""
        return (
            self.setting == other.setting
            and self.cut <= other.cut
            and all(one >= least for one, least in zip(self.steps, other.steps, strict=True))
        )


@dataclass(frozen=True)
class TimedEpoch:
    """An epoch, its work, and the seconds that it spent on stores."""

    row: Epoch
    work: Work
    store_seconds: float

    @property
    def other_seconds(self) -> float:
        return self.row.train_seconds - self.store_seconds


def long_epochs(runs: Sequence[RunResult]) -> list[LongEpoch]:
    """The epochs that took far longer than expected, from runs whose times count.

    Expected is the median of the epochs of equal work, in all runs on the same machine. Without
    others, it is the shortest of the run's earlier epochs and its baseline's that had at least its
    work: training never gets more expensive, as units stay frozen. Stores may cost what they did.
    """
    epochs = {run.id: timed_epochs(run) for run in runs}
    by_work: dict[Work, list[float]] = {}
    for each in chain.from_iterable(epochs.values()):
        by_work.setdefault(each.work, []).append(each.row.train_seconds)
    found = []
    for run in runs:
        baseline = epochs.get(run.record["baseline"], [])
        for number, each in enumerate(epochs[run.id]):
            equal = by_work[each.work]
            if len(equal) > 1:
                expected = median_low(equal)
            else:
                expected = least_seconds(each, [*baseline, *epochs[run.id][:number]])
            seconds = each.row.train_seconds
            if expected and seconds > max(LONG_RATIO * expected, expected + LONG_SECONDS):
                found.append(LongEpoch(run.id, each.row.epoch, seconds, expected))
    return found


def least_seconds(epoch: TimedEpoch, others: Sequence[TimedEpoch]) -> float | None:
    """The seconds of the shortest epoch with at least the work; None if there is none."""
    shortest = min(
        (other.other_seconds for other in others if other.work.includes(epoch.work)), default=None
    )
    return None if shortest is None else shortest + epoch.store_seconds


def timed_epochs(run: RunResult) -> list[TimedEpoch]:
    """A run's epochs with their work, as planned."""
    recorded, total = run.record["run"], run.record["total_steps"]
    units = run.record["units"]
    setting = [recorded[key] for key in ("data", "data_used", "model", "train")]
    setting = str((setting, [unit["name"] for unit in units], machine(run.record)))
    freeze_steps = [unit["freeze_step"] for unit in units]
    ends = [total if step is None else step for step in freeze_steps]
    builds = run.record.get("store", {}).get("build_seconds", [0.0] * len(run.epochs))
    found, start, cut = [], 0, 0
    for row, build, seconds in zip(run.epochs, builds, seconds_by_epoch(run), strict=True):
        steps = tuple(max(0, min(end, row.step) - start) for end in ends)
        work = Work(setting, steps, row.cached_units, built_from=cut if build else None)
        found.append(TimedEpoch(row, work, seconds))
        start, cut = row.step, row.cached_units
    return found
