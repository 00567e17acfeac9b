"""The plan of what a run stores: made once per method and machine, and saved in a file.

The file is `results/<experiment>/plan-<hash>.json` and also holds the measured costs. All seeds and
repeats read it, so that they store the same activations. Move it away to measure again.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fobench.activations import places, plan, speed
from fobench.activations.plan import STORE_NOTHING, ForwardCosts, FrozenEpoch, Place, StorePlan
from fobench.activations.store import DTYPES
from fobench.costs.flops import freeze_steps_of
from fobench.costs.forward_time import forward_seconds
from fobench.costs.profile import KeptProfile, Profile
from fobench.cutting.cut_network import memory_format_of
from fobench.data.split import Split
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.clock import timed
from fobench.machine.device import autocast, prepare, step_mode
from fobench.machine.graphs import Graphs
from fobench.machine.memory import release_memory
from fobench.machine.ranks import current
from fobench.models.fusion import fuse_batch_norm_relu
from fobench.records.files import RESTORE, exists, read_json, write_json

log = logging.getLogger(__name__)

FORMAT = 1


def frozen_epochs_of(run: Run) -> list[FrozenEpoch]:
    """The epochs of a run that start with a frozen unit."""
    return plan.frozen_epochs(
        freeze_steps_of(run),
        run.total_steps,
        run.steps_per_epoch,
        run.data_used.train_images,
        run.train.batch_size,
    )


def plan_of(run: Run, folder: Path, split: Split, kept: KeptProfile | None = None) -> StorePlan:
    """The plan of a run of the experiment in `folder`: read from its file, or made and written.

    The seconds of forward passes are those of the profile, or else measured. A profile is that of a
    timed run: untimed ones, of fewer threads each, store what that would, and are predicted as it.

    Raises UserError for a file that is invalid or cannot be written.
    """
    stores, device = run.method.stores, split.labels.device
    if not stores.precompute or not frozen_epochs_of(run):
        return STORE_NOTHING
    path = path_of(run, folder, device, split.place)
    if exists(path):
        return read_plan(path, run)
    prepare(device, run.train)
    measured = measure_costs(run, split, None if kept is None else kept.profile)
    bytes_at = speed.bytes_at_cuts(run, DTYPES[stores.store])
    costs = ForwardCosts(measured.pixels, measured.forward, bytes_at)
    if exists(path):  # another process has measured, too: all runs are to store the same
        return read_plan(path, run)
    best = make_plan(run, costs, measured.places)
    write_json(
        path,
        {
            "format": FORMAT,
            "for": conditions(run, device, split.place),
            "costs": asdict(costs),
            "places": [asdict(place) for place in measured.places],
            "measuring_seconds": measured.seconds,
            "plan": asdict(best),
        },
    )
    return best


def path_of(run: Run, folder: Path, device: torch.device, images: str) -> Path:
    """The file of a run's plan on this machine, in the folder of its experiment.

    `images` is where the images lie.
    """
    made_for = json.dumps(conditions(run, device, images), sort_keys=True)
    return folder / f"plan-{hashlib.sha256(made_for.encode()).hexdigest()[:8]}.json"


def read_plan(path: Path, run: Run) -> StorePlan:
    """Raises UserError for a plan that is invalid or does not fit the run."""
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        kept = StorePlan.from_dict(content["plan"])
        if kept.place not in (places.PLACES if kept.builds else [STORE_NOTHING.place]):
            raise ValueError(f"place {kept.place!r}")
        config_builds = tuple((epoch + 1, cut) for epoch, cut in kept.builds)
        plan.explicit_builds(config_builds, frozen_epochs_of(run), run.method.stores.views or 1)
        return replace(
            kept,
            room=int(kept.room),
            peak_bytes=int(kept.peak_bytes),
            seconds_saved=float(kept.seconds_saved),
            build_seconds=float(kept.build_seconds),
            read_seconds=float(kept.read_seconds),
        )
    except (UserError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(f"{path} does not hold a valid plan ({error}): {RESTORE}") from error


def conditions(run: Run, device: torch.device, images: str) -> dict[str, Any]:
    """What a plan depends on: the method, the machine and the place of the images, not the seed.

    Nor the card: runs that are trained side by side on equal cards are to store the same.
    """
    machine = environment.describe(device, run.train)
    return {
        "run": replace(run, seed=0, repeat=0).id,
        "total_steps": run.total_steps,
        # Plans of earlier versions, all of images on the device, stay valid.
        **({} if images == "device" else {"images": images}),
        "machine": environment.kind_of_machine(machine),
    }


@dataclass(frozen=True)
class MeasuredCosts:
    """Seconds per image of its pixels and of each unit; the available places; and how many seconds
    the measurement took."""

    pixels: float
    forward: tuple[float, ...]
    places: tuple[Place, ...]
    seconds: float


# By all that they depend on: the run without method, seed and repeat; the stores' type; the device;
# the place of the images; the profile. An lru_cache would keep the images, too.
measured_costs: dict[tuple[Run, torch.dtype, torch.device, str, Profile | None], MeasuredCosts] = {}


def measure_costs(run: Run, split: Split, profile: Profile | None = None) -> MeasuredCosts:
    """Costs of the run's forward pass, and the available places; measured once in this process."""
    dtype, device = DTYPES[run.method.stores.store], split.labels.device
    key = (replace(run.baseline_run, seed=0, repeat=0), dtype, device, split.place, profile)
    if key not in measured_costs:
        measured_costs[key] = measure_costs_anew(run, split, dtype, profile)
        # Torch keeps the memory of the stores that were measured, which no later run starts with.
        release_memory(device)
    return measured_costs[key]


def measure_costs_anew(
    run: Run, split: Split, dtype: torch.dtype, profile: Profile | None = None
) -> MeasuredCosts:
    """Like `measure_costs`, each time. `dtype` is that of the stores.

    With a profile, only the places are measured. Several ranks share the work on all images, but
    each writes a whole store.
    """
    device, ranks = split.labels.device, current()
    batch_size = ranks.largest_part(min(run.train.batch_size, len(split)))
    log.info("measuring the costs of %s and its stores", run.model.title())
    with timed(device) as measuring, autocast(device, run.train.precision):
        network = run.model.build(run.data_used.classes, run.data_used.image_shape)
        if run.train.fuse_batchnorm:
            fuse_batch_norm_relu(network)
        network = network.to(device, memory_format=memory_format_of(network)).eval()
        if profile is None:
            graphs = Graphs(device) if step_mode(device, run.train) == "graph" else None
            pixels, forward = forward_seconds(network, split, batch_size, graphs)
        else:
            pixels, forward = profile.pixels, profile.forward
        found = [
            speed.measure_place(name, network, split, batch_size, dtype)
            for name in places.places_for(device)
        ]
    available = tuple(
        replace(place, read=ranks.count * place.read) for place in found if place is not None
    )
    pixels, *forward = (seconds / ranks.count for seconds in (pixels, *forward))
    return MeasuredCosts(pixels, tuple(forward), available, measuring.seconds)


def make_plan(run: Run, costs: ForwardCosts, available: Sequence[Place]) -> StorePlan:
    """The best plan within the budget, or the one set in the config."""
    stores = run.method.stores
    budget, views = stores.budget_bytes, stores.views or 1
    if budget is not None:
        available = [replace(place, room=min(budget, place.room)) for place in available]
    if not available:
        available = [Place(next(reversed(places.PLACES)), room=0, read=math.inf, write=math.inf)]
    epochs, images = frozen_epochs_of(run), run.data_used.train_images
    if stores.plan is None:
        return plan.best_plan(epochs, images, costs, available, views)
    builds = plan.explicit_builds(stores.plan, epochs, views)
    plans = [plan.predict(builds, epochs, images, costs, place, views) for place in available]
    fitting = (each for each in plans if each.peak_bytes <= each.room)
    return next(fitting, max(plans, key=lambda each: each.room))


def require_valid_plans(runs: Sequence[Run]) -> None:
    """Raises UserError with all mistakes in the plans set in a config."""
    problems: list[str] = []
    by_method = {run.method: run for run in runs if run.method.stores.plan}
    for method, run in by_method.items():
        stores = method.stores
        try:
            plan.explicit_builds(stores.plan, frozen_epochs_of(run), stores.views or 1)
        except UserError as error:
            problems += [f"{method.slug()}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)


def describe(kept: StorePlan, run: Run) -> dict[str, Any]:
    """A run's plan as written to run.json; epochs count from 1, as in epochs.csv."""
    stores = run.method.stores
    if not stores.precompute:
        return {}
    sizes = speed.bytes_at_cuts(run, DTYPES[stores.store])
    images = run.data_used.train_images
    described = {
        "place": kept.place,
        "budget_bytes": kept.room,
        "builds": [
            {"epoch": epoch + 1, "cut": cut, "bytes": images * sizes[cut]}
            for epoch, cut in kept.builds
        ],
        "peak_bytes": kept.peak_bytes,
        "predicted": {
            "seconds_saved": kept.seconds_saved,
            "build_seconds": kept.build_seconds,
            "read_seconds": kept.read_seconds,
        },
    }
    return {"store_plan": described}


def log_plan(described: dict[str, Any], run: Run) -> None:
    """Log what is stored when, and the predicted saving."""
    if not frozen_epochs_of(run):
        log.info("nothing is stored, and views change nothing: no epoch starts with a frozen unit")
        return
    if not described["builds"]:
        budget = format_bytes(described["budget_bytes"])
        log.info("nothing is stored: no store within %s would save time", budget)
        return
    builds = ", ".join(
        f"cut {build['cut']} in epoch {build['epoch']} ({format_bytes(build['bytes'])})"
        for build in described["builds"]
    )
    predicted = described["predicted"]
    log.info(
        "stores in the %s, %s of %s at most: %s; predicted: %.1f s for building and reading, "
        "%.1f s less in all",
        described["place"],
        format_bytes(described["peak_bytes"]),
        format_bytes(described["budget_bytes"]),
        builds,
        predicted["build_seconds"] + predicted["read_seconds"],
        predicted["seconds_saved"],
    )


def format_bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
