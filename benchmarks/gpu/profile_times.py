"""The times that ladder.py wrote, and the seconds of a run that they predict. No torch."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from fobench.records.runs import RunResult

# As in `fobench.machine.graphs`, which needs torch.
MIN_REPLAYS = 20
Row = dict[str, str]


class Profile:
    """Seconds of a step by network and depth, from the pixels and from a stored activation."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def of(self, network: str, series: str = "profile") -> list[Row]:
        return [row for row in self._rows if row["network"] == network and row["series"] == series]

    def units(self, network: str) -> int:
        """0 if it was not measured."""
        return int(self.of(network)[0]["units"]) if self.of(network) else 0

    def baseline_seconds(self, network: str) -> float:
        """A step with nothing frozen; 0 if it was not measured."""
        return self.times(network).step.get(0, 0.0)

    def times(self, network: str) -> "Times":
        rows, epoch = self.of(network), self.of(network, "epoch")
        pixels = [row for row in rows if row["start"] == "0"]
        stored = [row for row in rows if row["frozen"] == row["start"] != "0"]
        return Times(
            # The first row of a depth counts: nothing frozen is measured with stores, too.
            step={int(row["frozen"]): seconds_of(row) for row in reversed(pixels)},
            stored={int(row["frozen"]): seconds_of(row) for row in stored},
            first={
                int(row["frozen"]): float(row["first_seconds"])
                for row in pixels
                if row["first_seconds"]
            },
            epoch=seconds_of(epoch[0]) if epoch else 0.0,
            mode=rows[0]["mode"] if rows else "",
        )


def seconds_of(row: Row) -> float:
    return float(row["milliseconds"]) / 1000


@dataclass(frozen=True)
class Times:
    """Seconds by depth: of a step, of one that reads a store, and of a depth's first step.

    `epoch` is what the start of an epoch adds to a step, `mode` how steps were taken.
    """

    step: dict[int, float]
    stored: dict[int, float]
    first: dict[int, float]
    epoch: float
    mode: str

    def with_store(self, cut: int, depth: int) -> float:
        """A step at `depth` that reads the activations at `cut`, if that is not 0."""
        spared = self.step[cut] - self.stored.get(cut, self.step[cut])
        return self.step[depth] - spared

    @cached_property
    def _usual_excess(self) -> float:
        return median([each - self.step[depth] for depth, each in self.first.items()] or [0.0])

    def excess(self, depth: int) -> float:
        """What a step operation by operation takes longer than a replayed one."""
        if self.mode != "graph":
            return 0.0
        if depth in self.first:
            return self.first[depth] - self.step[depth]
        return self._usual_excess


def prefixes(record: dict[str, Any]) -> list[tuple[int, int]]:
    """What the frozen units of each step of a run start from and end at; for one view at most."""
    total, per_epoch = record["total_steps"], record["steps_per_epoch"]
    freeze_steps = [unit["freeze_step"] or total for unit in record["units"]]
    builds = record.get("store_plan", {}).get("builds", [])
    found = []
    for step in range(total):
        epoch = step // per_epoch + 1
        cut = max((build["cut"] for build in builds if build["epoch"] <= epoch), default=0)
        found.append((cut, bisect_right(freeze_steps, step)))
    return found


def eager_steps(record: dict[str, Any]) -> Counter[int]:
    """The steps of a run that are not replayed, by depth: only the first of each prefix, unless the
    next unit freezes too soon for a capture."""
    found, counted = prefixes(record), Counter[int]()
    depths = [depth for _, depth in found]
    for (cut, depth), count in Counter(found).items():
        second = found.index((cut, depth)) + 1
        next_freeze = depths.index(depth) + depths.count(depth)
        counted[depth] += 1 if next_freeze - second >= MIN_REPLAYS else count
    return counted


@dataclass(frozen=True)
class PredictedRow:
    """A run's seconds as the profile predicts them, in parts, and as they were measured.

    Captures and the building of stores are those that the run recorded; a capture within a building
    counts in both. `first_seconds` are what the steps that are not replayed take longer.
    """

    device: str
    experiment: str
    run: str
    steps: int
    steps_seconds: float
    first_seconds: float
    capture_seconds: float
    build_seconds: float
    epoch_seconds: float
    predicted_seconds: float
    measured_seconds: float
    difference_percent: float


def predict(experiment: str, result: RunResult, times: Times) -> PredictedRow:
    record = result.record
    counted = Counter(prefixes(record))
    parts = {
        "steps_seconds": sum(
            count * times.with_store(cut, depth) for (cut, depth), count in counted.items()
        ),
        "first_seconds": sum(
            count * times.excess(depth) for depth, count in eager_steps(record).items()
        ),
        "capture_seconds": sum(record.get("graphs", {}).get("capture_seconds", [])),
        "build_seconds": sum(record.get("store", {}).get("build_seconds", [])),
        "epoch_seconds": len(result.epochs) * times.epoch,
    }
    predicted, measured = sum(parts.values()), result.epochs[-1].total_train_seconds
    environment = record["environment"]
    return PredictedRow(
        device=environment["gpu"] or environment["processor"],
        experiment=experiment,
        run=result.id,
        steps=record["total_steps"],
        predicted_seconds=predicted,
        measured_seconds=measured,
        difference_percent=100 * (predicted / measured - 1),
        **parts,
    )
