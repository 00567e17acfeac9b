"""The configs of the runs that are measured, as long as the measured step times allow. No torch."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from profile_times import Profile
from sizes import Sizes

from fobench.activations.plan import frozen_epochs
from fobench.freezing import schedule
from fobench.models import ModelOptions

DATASETS = ["cifar10", "synthetic"]
NEVER = 1_000_000  # seconds between checkpoints: none but where a run is cut off
STORES = 4  # that a run builds, at equal distances
START_SECONDS = 20.0  # of a process, until it trains
RUN_SECONDS = 3.5  # of a run besides replayed steps: warm-up, captures, evaluation, files
# Steps of the runs together, as multiples of the baseline's: estimates, to choose the epochs by.
TIMED_RUNS, TIMED_COST = 6, 5.0
ERROR_RUNS, ERROR_COST = 6, 4.7
T0 = 0.5


@dataclass(frozen=True)
class Table:
    """A table of a config."""

    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        lines = (f"{key} = {json.dumps(value)}" for key, value in self.options.items())
        return "\n".join([self.name, *lines, ""])


def timed_configs(sizes: Sizes, profile: Profile, seconds: float) -> dict[str, str]:
    """Configs by name: a baseline, FreezeOut, FreezeOut with stores; and the baseline once more."""
    images, batch = sizes.timed_images, sizes.batch
    per_epoch = schedule.steps_per_epoch(images, batch)
    step = profile.baseline_seconds(sizes.timed.title())
    left = seconds - START_SECONDS - TIMED_RUNS * RUN_SECONDS
    epochs = epochs_for(left, TIMED_COST * per_epoch * step, sizes.timed_epochs)
    units = profile.units(sizes.timed.title())
    plan = store_plan(units, epochs, images, batch) if units else None
    storing = freezeout("cubic", T0, views=1, precompute=True, **({"plan": plan} if plan else {}))
    baseline = {"name": "baseline"}
    methods = [
        *(baseline, freezeout("cubic", T0), freezeout("linear", T0)),
        *(storing, freezeout("cubic", 0.8)),
    ]
    data = {"train_size": images, "test_size": min(images, 1000)}
    return {
        name: config(name, sizes.timed, {"epochs": epochs, "batch_size": batch}, data, of, [0])
        for name, of in (("gpu-timed", methods), ("gpu-timed-again", [baseline]))
    }


def error_configs(sizes: Sizes, profile: Profile, seconds: float) -> dict[str, str]:
    """Configs by name, a network each; pairs of a baseline and a method come first."""
    images, validation, test = sizes.error_images
    per_epoch = schedule.steps_per_epoch(images, sizes.batch)
    steps = sum(profile.baseline_seconds(model.title()) for model in sizes.errors)
    left = seconds - START_SECONDS - len(sizes.errors) * ERROR_RUNS * RUN_SECONDS
    epochs = epochs_for(left, ERROR_COST * per_epoch * steps, sizes.error_epochs)
    methods = [
        *({"name": "baseline"}, freezeout("cubic", 0.8)),
        *({"name": "baseline", "epoch_share": 0.8}, freezeout("cubic", T0)),
        *({"name": "baseline", "epoch_share": 0.6}, freezeout("linear", T0)),
    ]
    data = {"train_size": images, "validation": validation, "test_size": test}
    train = {"epochs": epochs, "batch_size": sizes.batch, "precision": sizes.error_precision}
    return {
        name: config(name, model, train, data, methods, sizes.error_seeds)
        for name, model in ((f"gpu-{each.name}", each) for each in sizes.errors)
    }


def epochs_for(seconds: float, seconds_an_epoch: float, between: tuple[int, int]) -> int:
    """As many as there is time for; the least without a measured step."""
    least, most = between
    fitting = int(seconds / seconds_an_epoch) if seconds_an_epoch else least
    return min(most, max(least, fitting))


def store_plan(units: int, epochs: int, images: int, batch: int) -> list[list[int]]:
    """Stores behind all that is frozen, at equal distances: [epoch, cut], epochs from 1."""
    per_epoch = schedule.steps_per_epoch(images, batch)
    times = schedule.freeze_times(units, T0, "cubic")
    steps = schedule.freeze_steps(times, epochs * per_epoch)
    frozen = frozen_epochs(steps, epochs * per_epoch, per_epoch, images, batch)
    chosen = {frozen[number * len(frozen) // STORES].epoch for number in range(STORES) if frozen}
    return [[each.epoch + 1, each.storable] for each in frozen if each.epoch in chosen]


def freezeout(scaling: str, t0: float, **options: Any) -> dict[str, Any]:
    return {"name": "freezeout", "scaling": scaling, "scale_lr": True, "t0": t0, **options}


def config(
    name: str,
    model: ModelOptions,
    train: dict[str, Any],
    data: dict[str, Any],
    methods: Iterable[dict[str, Any]],
    seeds: Sequence[int],
) -> str:
    experiment = {"name": name, "seeds": list(seeds), "checkpoint_every": NEVER}
    tables = [
        Table("[experiment]", experiment),
        Table("[data]", {"dataset": DATASETS, **data}),
        Table("[model]", {"name": model.name, **model.non_defaults()}),
        Table("[train]", train),
        *(Table("[[method]]", method) for method in methods),
    ]
    return "\n".join(map(str, tables))
