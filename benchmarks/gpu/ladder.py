"""Times of steps within fobench's own loop, one depth after another, as runs will take them.

    python benchmarks/gpu/ladder.py --device cuda|cpu --out DIR

Adds rows to DIR/profile.csv. FreezeOut with linear freeze times from t0 = 1/L on freezes a unit
every T/L steps: one run of it takes as many steps at each depth. Unlike the rows of steps.py, these
hold all that a step of a run does: reading and augmenting the batch, or reading the store, setting
the rates, counting.

A row with `start` > 0 is of steps that read a store. The row "epoch" holds the seconds that the
start of an epoch adds to its first step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np
import torch
from measuring import Measurements, name_of
from random_runs import random_data, run_of
from rows import StepRow, Table, parser_of
from sizes import Sizes, sizes_for

from fobench.activations.places import places_for
from fobench.activations.plan import STORE_NOTHING, StorePlan
from fobench.costs.unit_costs import unit_costs_of
from fobench.machine.clock import Laps
from fobench.machine.device import select
from fobench.methods import FreezeOutOptions
from fobench.models import ModelOptions
from fobench.training.loop import train_epoch
from fobench.training.state import Training

AMPLE = 1 << 40  # bytes
CLASSES = 10


@dataclass
class Watch:
    """Marks the end of each step, and notes how many units were frozen in it."""

    laps: Laps
    frozen: list[int] = field(default_factory=list)

    def step(self, images: int, frozen: int) -> None:
        self.laps.mark()
        self.frozen.append(frozen)


@dataclass(frozen=True)
class Lap:
    """A step: its seconds, its depth, its place among the steps of that depth and of its epoch."""

    seconds: float
    frozen: int
    of_depth: int
    of_epoch: int


def climb(training: Training) -> list[Lap]:
    """Train to the end of the run, as `fobench.training.loop.train` does, without evaluation."""
    run, watch, laps = training.run, Watch(Laps(training.device)), list[Lap]()
    while not training.is_done:
        steps = min(run.steps_per_epoch, run.total_steps - training.step)
        watch.laps.mark()
        train_epoch(training, training.epoch, steps, watch)
        for number, seconds in enumerate(watch.laps.read()):
            depth = watch.frozen[len(laps)]
            before = watch.frozen.index(depth)
            laps.append(Lap(seconds, depth, len(laps) - before, number))
    return laps


def ladder(
    model: ModelOptions, sizes: Sizes, device: torch.device, with_stores: bool
) -> tuple[Training, list[Lap]]:
    """Steps at every depth, about as many each; with stores, each depth is an epoch."""
    units = len(unit_costs_of(run_of(model, 2, 2, 1, classes=CLASSES)))
    steps = sizes.profile_steps
    images = sizes.batch * steps if with_stores else sizes.timed_images
    epochs = units if with_stores else -(-units * steps * sizes.batch // images)
    stores = {"views": 1, "precompute": True} if with_stores else {}
    method = FreezeOutOptions(scaling="linear", scale_lr=False, t0=1 / units, **stores)
    run = run_of(model, images, sizes.batch, epochs, method, classes=CLASSES)
    plan = STORE_NOTHING
    if with_stores:
        builds = tuple((epoch, epoch) for epoch in range(1, units))
        plan = StorePlan(builds, places_for(device)[0], AMPLE)
    training = Training(run, random_data(run, device, run.data_used.padding), device, plan)
    return training, climb(training)


def rows_of(
    training: Training, laps: Sequence[Lap], groups: int, with_stores: bool
) -> list[StepRow]:
    """A row for each depth; without stores also one for the start of an epoch."""
    rows = []
    step_seconds: dict[int, float] = {}
    for depth in sorted({lap.frozen for lap in laps}):
        here = [lap for lap in laps if lap.frozen == depth]
        # Neither the step before a capture, nor that with it, nor what an epoch begins with.
        plain = [lap.seconds for lap in here if lap.of_depth > 1 and lap.of_epoch]
        means = [float(group.mean()) for group in np.array_split(plain, groups)]
        step_seconds[depth] = median(means)
        first, second = (
            next((lap.seconds for lap in here if lap.of_depth == place and lap.of_epoch), None)
            for place in (0, 1)
        )
        captures = training.graphs is not None and second is not None
        capture = second - step_seconds[depth] if captures else None
        seconds = {"first_seconds": first, "capture_seconds": capture}
        start = depth if with_stores else 0
        rows.append(row(training, "profile", depth, start, means, len(plain), **seconds))
    if not with_stores:
        added = [
            lap.seconds - step_seconds[lap.frozen]
            for lap in laps
            if not lap.of_epoch and lap.of_depth > 1
        ]
        rows.append(row(training, "epoch", 0, 0, added, len(added)))
    return rows


def row(
    training: Training,
    series: str,
    frozen: int,
    start: int,
    seconds: Sequence[float],
    steps: int,
    first_seconds: float | None = None,
    capture_seconds: float | None = None,
) -> StepRow:
    run = training.run
    return StepRow(
        device=name_of(training.device),
        torch=torch.__version__,
        network=run.model.title(),
        units=len(training.network),
        frozen=frozen,
        start=start,
        batch=run.train.batch_size,
        precision=run.train.precision,
        layout="channels_last",
        mode="graph" if training.graphs else "eager",
        series=series,
        groups=len(seconds),
        steps=steps,
        milliseconds=1000 * median(seconds),
        low=1000 * min(seconds),
        high=1000 * max(seconds),
        setup_seconds=None,
        first_seconds=first_seconds,
        capture_seconds=capture_seconds,
        peak_memory_bytes=None,
    )


def measure(
    model: ModelOptions, sizes: Sizes, device: torch.device, with_stores: bool, table: Table
) -> None:
    training, laps = ladder(model, sizes, device, with_stores)
    for each in rows_of(training, laps, sizes.groups, with_stores):
        table.add(each)


def main() -> None:
    options = parser_of(__doc__).parse_args()
    device = select(options.device)
    torch.manual_seed(0)
    sizes, measurements = sizes_for(options.device), Measurements(device, options.without)
    table = Table(options.out / "profile.csv", StepRow)
    climbs = [(sizes.timed, False), (sizes.timed, True), *((each, False) for each in sizes.errors)]
    for model, with_stores in climbs:
        name = f"{model.title()}{', with stores' if with_stores else ''}"
        measurements.take(name, partial(measure, model, sizes, device, with_stores, table))
    measurements.exit()


if __name__ == "__main__":
    main()
