"""The profile of a network on a machine: measured seconds of a training step, by frozen units.

It is kept in `results/<experiment>/profile-<hash>.json`, so that all runs of an experiment read the
same. Move the file away, or give `fobench predict --force`, to measure again.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fobench.costs.flops import paper_step_cost, step_flops
from fobench.costs.unit_costs import unit_costs_of
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.environment import kind_of_machine
from fobench.records.files import RESTORE, exists, read_json, write_json

FORMAT = 1
# They change how many steps a run takes and how far each goes, not what a step costs.
NOT_OF_A_STEP = ("epochs", "lr", "warmup_epochs")


@dataclass(frozen=True)
class Spread:
    """The median of measured values, their quartiles, and how many they are."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        low, median, high = (float(each) for each in np.quantile(values, (0.25, 0.5, 0.75)))
        return cls(median, low, high, len(values))


@dataclass(frozen=True)
class Profile:
    """Seconds of a training step with the first d units frozen, at index d.

    Attributes:
        steps: from the pixels, in a full batch; each value is a mean of several steps.
        drift: medians of the steps with nothing frozen, at the start, in the middle and at the end
            of the rounds.
        short_step: seconds of the short last batch of an epoch, as a share of a full one's.
        first_steps, captures: where steps are captured as CUDA graphs, by frozen units, the seconds
            of the first step, which is not, and of the capture; empty elsewhere.
        pixels, forward: seconds per image to read and augment it, and of each unit without
            gradients.
        evaluation: seconds per image.
        peak_memory_bytes: as in epochs.csv, with nothing frozen.
        rounds, seconds: of the measurement.
    """

    steps: tuple[Spread, ...]
    drift: tuple[float, float, float]
    short_step: float
    first_steps: tuple[float, ...]
    captures: tuple[float, ...]
    pixels: float
    forward: tuple[float, ...]
    evaluation: float
    peak_memory_bytes: int
    rounds: int
    seconds: float

    @property
    def step_seconds(self) -> list[float]:
        """The medians."""
        return [step.median for step in self.steps]

    @property
    def drift_percent(self) -> float:
        """How far the speed at the start, in the middle and at the end differ, in percent."""
        return 100 * (max(self.drift) / min(self.drift) - 1)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Profile":
        """Raises TypeError, KeyError or ValueError for what `as_dict` does not give."""
        tuples = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        found = cls(**{**content, **tuples})
        steps = tuple(Spread(**step) for step in found.steps)
        numbers = [*(step.median for step in steps), *found.drift, *found.forward]
        others = [found.short_step, found.pixels, found.evaluation, *found.first_steps]
        if not all(0 < each < 1e9 for each in numbers) or not all(
            0 <= each < 1e9 for each in others
        ):
            raise ValueError("seconds that cannot be")
        if not all(math.isfinite(each) for each in (*found.captures, found.peak_memory_bytes)):
            raise ValueError("numbers that cannot be")
        of_captures = {len(found.first_steps), len(found.captures)}
        if len(steps) != len(found.forward) or of_captures not in ({0}, {len(steps)}):
            raise ValueError("not as many values as units")
        return cls(**{**vars(found), "steps": steps})


@dataclass(frozen=True)
class KeptProfile:
    """A profile, the name of its file, and the number of threads that it was measured with."""

    profile: Profile
    file: str
    threads: int


def conditions(run: Run, machine: dict[str, Any], images: str = "device") -> dict[str, Any]:
    """What a profile depends on: the network and its steps, and the machine, not the method.

    `machine` is the environment, `images` where the images lie.
    """
    used, train = run.data_used, run.train.non_defaults()
    limits = {key: machine[key] for key in ("cpu_quota", "cpus_allowed")}
    return {
        "model": run.model.described(),
        "classes": used.classes,
        "image_shape": list(used.image_shape),
        "augment": run.data.augment,
        # Profiles of earlier versions, all of images on the device, stay valid.
        **({} if images == "device" else {"images": images}),
        "short_batch": used.train_images % run.train.batch_size,
        "train": {key: train[key] for key in train if key not in NOT_OF_A_STEP},
        "machine": kind_of_machine(machine) | limits,
    }


def path_of(folder: Path, made_for: dict[str, Any]) -> Path:
    """The file of a profile in an experiment's folder, by its conditions."""
    digest = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"profile-{digest}.json"


def write_profile(path: Path, profile: Profile, run: Run, made_for: dict[str, Any]) -> None:
    """Write a profile, with FLOPs and the paper's estimate of the same steps beside it.

    Raises UserError if that fails.
    """
    costs = unit_costs_of(run)
    depths = range(len(costs))
    content = {
        "format": FORMAT,
        "for": made_for,
        "units": [cost.name for cost in costs],
        "profile": asdict(profile),
        "step_flops": [step_flops(costs, frozen) for frozen in depths],
        "paper_step_cost": [paper_step_cost(costs, frozen) for frozen in depths],
    }
    write_json(path, content)


def read_profile(path: Path, run: Run) -> Profile | None:
    """A kept profile; None if there is none. Raises UserError for one that is invalid."""
    if not exists(path):
        return None
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        found = Profile.from_dict(content["profile"])
        if len(found.steps) != len(unit_costs_of(run)):
            raise ValueError(f"{len(found.steps)} units")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} does not hold a valid profile ({error}): {RESTORE}") from error
    return found
