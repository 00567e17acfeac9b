"""The plan of what a run stores: made once for a method and a machine, and kept in a file.

It stands beside the runs, `results/<experiment>/plan-<hash>.json`, with the costs it was made from.
All seeds and repeats read it, so that they store the same; to measure anew, delete it.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from fobench import cost, environment, methods, store, store_plan
from fobench.data import Split
from fobench.device import set_determinism
from fobench.errors import UserError
from fobench.files import is_there
from fobench.method_options import size_in_bytes
from fobench.models import build
from fobench.results import read_json, write_json
from fobench.run import Run
from fobench.store_plan import NOTHING, Costs, Place, StorePlan, Use

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
        return read_plan(path)
    set_determinism(run.train.deterministic)
    costs, places = measured(run.family, run.model, run.train.batch_size, run.method.store, split)
    plan = make_plan(run, costs, places)
    write_json(
        path,
        {
            "format": FORMAT,
            "for": for_what,
            "costs": asdict(costs),
            "places": [asdict(place) for place in places],
            "plan": asdict(plan),
        },
    )
    return plan


def read_plan(path: Path) -> StorePlan:
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        return StorePlan.from_dict(content["plan"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} holds no plan ({error}): delete it, and it is made anew"
        ) from error


def conditions(run: Run, split: Split) -> dict[str, Any]:
    """All that a plan depends on, but for the seed."""
    told = replace(run, seed=0, repeat=0).as_dict()
    machine = environment.describe(split.labels.device)
    return told | {
        "total_steps": run.total_steps,
        "machine": environment.bits_depend_on(machine) | {"host": machine["host"]},
    }


@lru_cache(maxsize=2)
def measured(
    family: str, model: Any, batch_size: int, dtype: str, split: Split
) -> tuple[Costs, tuple[Place, ...]]:
    """What the network costs on this machine, and the places there are; once for a process."""
    device = split.labels.device
    channels, classes = split.images.shape[3], int(split.labels.max()) + 1
    log.info("measuring what %s and its stores cost", model.title())
    network = build(family, max(2, classes), channels, **vars(model))
    network = network.to(device, memory_format=torch.channels_last).eval()
    kind = store.DTYPES[dtype]
    costs = cost.measure(network, split, batch_size, kind)
    places = [
        cost.measure_place(name, network, split, batch_size, kind)
        for name in store.places_for(device)
    ]
    return costs, tuple(place for place in places if place is not None)


def make_plan(run: Run, costs: Costs, places: Sequence[Place]) -> StorePlan:
    """The best plan within the budget, or the one that the config sets."""
    asked, views = size_in_bytes(run.method.budget), run.method.views or 1
    if asked is not None:
        places = [replace(place, room=min(asked, place.room)) for place in places]
    found, images = epochs_with_frozen_units(run), run.data_used.train_images
    if not places:
        return NOTHING
    if run.method.plan is None:
        return store_plan.best_plan(found, images, costs, places, views)
    builds = store_plan.by_hand(run.method.plan, found, views)
    plans = [store_plan.predict(builds, found, images, costs, place, views) for place in places]
    return next((plan for plan in plans if plan.peak_bytes <= plan.room), plans[-1])


def epochs_with_frozen_units(run: Run) -> list[Use]:
    steps = methods.freeze_steps(run, len(cost.costs_of(run)))
    return store_plan.uses(
        steps,
        run.total_steps,
        run.steps_per_epoch,
        run.data_used.train_images,
        run.train.batch_size,
    )


def require_sound(runs: Sequence[Run]) -> None:
    """Raises UserError with all that is wrong with the plans that a config sets."""
    problems: list[str] = []
    for method in dict.fromkeys(run.method for run in runs if run.method.precompute):
        run = next(run for run in runs if run.method == method)
        try:
            store_plan.by_hand(method.plan or (), epochs_with_frozen_units(run), method.views or 1)
        except UserError as error:
            problems += [f"{method.slug()}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)


def describe(plan: StorePlan, run: Run) -> dict[str, Any]:
    """A plan as it stands in run.json; epochs from 1, as in epochs.csv."""
    sizes = bytes_at(run)
    return {
        "place": plan.place,
        "budget_bytes": plan.room,
        "builds": [
            {"epoch": epoch + 1, "cut": cut, "bytes": sizes[cut]} for epoch, cut in plan.builds
        ],
        "peak_bytes": plan.peak_bytes,
        "predicted": {
            "seconds_saved": plan.seconds_saved,
            "build_seconds": plan.build_seconds,
            "read_seconds": plan.read_seconds,
        },
    }


def bytes_at(run: Run) -> list[int]:
    """Bytes of a run's store at each cut."""
    width = store.DTYPES[run.method.store].itemsize / 4
    images = run.data_used.train_images
    return [0, *(int(images * width * unit.activation_bytes) for unit in cost.costs_of(run))]


def tell(plan: StorePlan) -> None:
    """Log what is stored when, and what it should save."""
    if not plan.builds:
        log.info("nothing is stored: within %s no store would save time", size(plan.room))
        return
    builds = ", ".join(f"cut {cut} in epoch {epoch + 1}" for epoch, cut in plan.builds)
    log.info(
        "stores in %s, %s of %s at most: %s; to save about %.1f s, of which %.1f s are for "
        "building and reading",
        *(plan.place, size(plan.peak_bytes), size(plan.room), builds, plan.seconds_saved),
        plan.build_seconds + plan.read_seconds,
    )


def size(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
