"""The plan of what a run stores: made once for a method and a machine, and kept in a file.

It stands beside the runs, `results/<experiment>/plan-<hash>.json`, with the costs it was made from.
All seeds and repeats read it, so that they store the same; to measure anew, delete it.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from fobench import cost, environment, methods, store, store_plan
from fobench.clock import timed
from fobench.data import Split
from fobench.device import set_determinism
from fobench.errors import UserError
from fobench.files import is_there
from fobench.method_options import size_in_bytes
from fobench.models import build
from fobench.models.families import ModelOptions
from fobench.results import read_json, write_json
from fobench.run import Run
from fobench.store_plan import NOTHING, Costs, Place, StorePlan

log = logging.getLogger(__name__)

FORMAT = 1


def plan_of(run: Run, folder: Path, split: Split) -> StorePlan:
    """What a run of the experiment in `folder` stores; read from its file, or made and written.

    Raises UserError for a file that is not sound or cannot be written.
    """
    if not run.method.precompute:
        return NOTHING
    for_what = conditions(run, split)
    digest = hashlib.sha256(json.dumps(for_what, sort_keys=True).encode()).hexdigest()[:8]
    path = folder / f"plan-{digest}.json"
    if is_there(path):
        return read_plan(path, run)
    set_determinism(run.train.deterministic)
    kind = store.DTYPES[run.method.store]
    network = (run.family, run.model, run.data_used.classes)
    measures = measured(*network, min(run.train.batch_size, len(split)), kind, split)
    costs = Costs(measures.pixels, measures.forward, cost.bytes_at_cuts(run, kind))
    plan = make_plan(run, costs, measures.places)
    write_json(
        path,
        {
            "format": FORMAT,
            "for": for_what,
            "costs": asdict(costs),
            "places": [asdict(place) for place in measures.places],
            "measuring_seconds": measures.seconds,
            "plan": asdict(plan),
        },
    )
    return plan


def read_plan(path: Path, run: Run) -> StorePlan:
    """Raises UserError for a plan that is not sound, or not one of the run's."""
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        plan = StorePlan.from_dict(content["plan"])
        if plan.place not in (store.PLACES if plan.builds else [NOTHING.place]):
            raise ValueError(f"place {plan.place!r}")
        from_one = tuple((epoch + 1, cut) for epoch, cut in plan.builds)
        found = methods.epochs_with_frozen_units(run, len(cost.costs_of(run)))
        store_plan.by_hand(from_one, found, run.method.views or 1)
        return replace(
            plan,
            room=int(plan.room),
            peak_bytes=int(plan.peak_bytes),
            seconds_saved=float(plan.seconds_saved),
            build_seconds=float(plan.build_seconds),
            read_seconds=float(plan.read_seconds),
        )
    except (UserError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(
            f"{path} holds no plan ({error}): delete it, and it is made anew"
        ) from error


def conditions(run: Run, split: Split) -> dict[str, Any]:
    """For which method on which machine a plan is made; any seed may use it."""
    told = replace(run, seed=0, repeat=0).as_dict()
    machine = environment.describe(split.labels.device)
    return told | {
        "total_steps": run.total_steps,
        "machine": environment.bits_depend_on(machine) | {"host": machine["host"]},
    }


@dataclass(frozen=True)
class Measures:
    """Seconds of an image's pixels and of each unit for it; the places there are; and how many
    seconds all the measuring took."""

    pixels: float
    forward: tuple[float, ...]
    places: tuple[Place, ...]
    seconds: float


@lru_cache(maxsize=1)  # it keeps the images
def measured(
    family: str,
    model: ModelOptions,
    classes: int,
    batch_size: int,
    dtype: torch.dtype,
    split: Split,
) -> Measures:
    """What the network's forward pass costs on this machine, and the places there are."""
    device = split.labels.device
    log.info("measuring what %s and its stores cost", model.title())
    with timed(device) as measuring:
        network = build(family, classes, split.images.shape[3], **vars(model))
        network = network.to(device, memory_format=torch.channels_last).eval()
        pixels, forward = cost.measure(network, split, batch_size)
        places = [
            cost.measure_place(name, network, split, batch_size, dtype)
            for name in store.places_for(device)
        ]
    there = tuple(place for place in places if place is not None)
    return Measures(pixels, forward, there, measuring.seconds)


def make_plan(run: Run, costs: Costs, places: Sequence[Place]) -> StorePlan:
    """The best plan within the budget, or the one that the config sets."""
    asked, views = size_in_bytes(run.method.budget), run.method.views or 1
    if asked is not None:
        places = [replace(place, room=min(asked, place.room)) for place in places]
    if not places:
        places = [Place(next(reversed(store.PLACES)), room=0, read=math.inf, write=math.inf)]
    found = methods.epochs_with_frozen_units(run, len(cost.costs_of(run)))
    images = run.data_used.train_images
    if run.method.plan is None:
        return store_plan.best_plan(found, images, costs, places, views)
    builds = store_plan.by_hand(run.method.plan, found, views)
    plans = [store_plan.predict(builds, found, images, costs, place, views) for place in places]
    fitting = (plan for plan in plans if plan.peak_bytes <= plan.room)
    return next(fitting, max(plans, key=lambda plan: plan.room))


def require_sound(runs: Sequence[Run]) -> None:
    """Raises UserError with all that is wrong with the plans that a config sets."""
    problems: list[str] = []
    by_method = {run.method: run for run in runs if run.method.precompute and run.method.plan}
    for method, run in by_method.items():
        found = methods.epochs_with_frozen_units(run, len(cost.costs_of(run)))
        try:
            store_plan.by_hand(method.plan, found, method.views or 1)
        except UserError as error:
            problems += [f"{method.slug()}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)


def describe(plan: StorePlan, run: Run) -> dict[str, Any]:
    """A run's plan as it stands in run.json; epochs from 1, as in epochs.csv."""
    if not run.method.precompute:
        return {}
    sizes = cost.bytes_at_cuts(run, store.DTYPES[run.method.store])
    images = run.data_used.train_images
    described = {
        "place": plan.place,
        "budget_bytes": plan.room,
        "builds": [
            {"epoch": epoch + 1, "cut": cut, "bytes": images * sizes[cut]}
            for epoch, cut in plan.builds
        ],
        "peak_bytes": plan.peak_bytes,
        "predicted": {
            "seconds_saved": plan.seconds_saved,
            "build_seconds": plan.build_seconds,
            "read_seconds": plan.read_seconds,
        },
    }
    return {"store_plan": described}


def tell(described: dict[str, Any]) -> None:
    """Log what is stored when, and what it should save."""
    if not described["builds"]:
        log.info(
            "nothing is stored: within %s no store would save time", size(described["budget_bytes"])
        )
        return
    builds = ", ".join(
        f"cut {build['cut']} in epoch {build['epoch']} ({size(build['bytes'])})"
        for build in described["builds"]
    )
    predicted = described["predicted"]
    log.info(
        "stores in the %s, %s of %s at most: %s; %.1f s for building and reading, "
        "%.1f s less in all",
        *(described["place"], size(described["peak_bytes"]), size(described["budget_bytes"])),
        *(builds, predicted["build_seconds"] + predicted["read_seconds"]),
        predicted["seconds_saved"],
    )


def size(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
