"""A run: the full description of one training, and its id. No torch."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from fobench.experiment.options import DataOptions, TrainOptions
from fobench.freezing import schedule
from fobench.methods import BaselineOptions, MethodOptions
from fobench.methods.base import RunInfo
from fobench.models import NetworkOptions

PADDING = 4  # black pixels on each side, for the random crop of images of up to 32 pixels
PIXELS_PER_PADDING = 8  # of larger ones


@dataclass(frozen=True)
class DataUsed:
    """Which data set a run uses, and how much of it."""

    name: str
    fingerprint: str
    classes: int
    image_shape: tuple[int, int, int]
    train_images: int
    validation_images: int
    test_images: int

    @property
    def padding(self) -> int:
        """Pixels that a random crop can shift an image by: 4 up to 32 pixels, an eighth above."""
        side = min(self.image_shape[:2])
        return max(PADDING, (side + PIXELS_PER_PADDING // 2) // PIXELS_PER_PADDING)


@dataclass(frozen=True)
class Run:
    """One training: data × network × training options × method × seed × repeat.

    `matched_steps` is the number of steps of a method with `match_time`, as found by
    `fobench.costs.flops.match_flops`.
    """

    data: DataOptions
    data_used: DataUsed
    model: NetworkOptions
    train: TrainOptions
    method: MethodOptions
    seed: int
    repeat: int = 0
    matched_steps: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        return schedule.steps_per_epoch(self.data_used.train_images, self.train.batch_size)

    @property
    def total_steps(self) -> int:
        """Raises ValueError for a run with `match_time` before `match_flops` set its steps."""
        if not self.method.matches_time:
            return self.steps_by_share
        if self.matched_steps is None:
            raise ValueError("a run with match_time has no steps before match_flops")
        return self.matched_steps

    @property
    def steps_by_share(self) -> int:
        """Steps of the method's share of all epochs."""
        return schedule.total_steps(
            self.data_used.train_images,
            self.train.batch_size,
            self.train.epochs,
            self.method.epoch_share,
        )

    @property
    def epochs(self) -> int:
        """Number of epochs; the last can be partial."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rates warm up."""
        return schedule.warmup_steps(self.train.warmup_epochs, self.steps_per_epoch)

    def info(self, units: int) -> RunInfo:
        """What the method knows about the run; `units` is the number of the network's units."""
        return RunInfo(units, self.total_steps, self.model.name)

    @property
    def baseline_run(self) -> "Run":
        """The run that this one is compared with."""
        return replace(self, method=BaselineOptions(), matched_steps=None)

    @property
    def control_run(self) -> "Run | None":
        """The additional run that its method must be compared with, if any."""
        control = self.method.control(self.model.name)
        return None if control is None else replace(self.baseline_run, method=control)

    @property
    def uncached_run(self) -> "Run | None":
        """The run that sees the same inputs and stores nothing; None if this is one."""
        method = self.method.stores.without_store()
        return None if method is None else replace(self, method=method)

    @cached_property
    def id(self) -> str:
        """A readable name with a hash of everything that identifies the run.

        The hash ignores options at their defaults, so that adding an option does not orphan
        earlier results.
        """
        used, data = self.data_used, self.data.non_defaults()
        del data["dataset"]  # the requested sets; only the one used identifies the run
        identity = {
            "data": [used.name, used.fingerprint, used.classes, data],
            "model": self.model.identity(),
            "train": self.train.non_defaults(),
            "method": [self.method.name, self.method.non_defaults()],
            "seed": self.seed,
            "repeat": self.repeat,
        }
        if self.data.augment == "random" and used.padding != PADDING:
            # Earlier versions padded larger images by as little as small ones.
            identity["padding"] = used.padding
        if self.matched_steps is not None:
            identity["steps"] = self.matched_steps
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        dataset = re.sub(r"[^A-Za-z0-9.-]+", "-", used.name)[:40]
        repeat = f"-repeat{self.repeat}" if self.repeat else ""
        return (
            f"{self.model.slug()}_{dataset}_{self.method.slug()}_seed{self.seed}{repeat}-{digest}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The run as written to run.json."""
        model = {"name": self.model.name, "title": self.model.title(), **self.model.described()}
        return {
            "data": self.data.as_dict(),
            "data_used": asdict(self.data_used),
            "model": model,
            "train": self.train.as_dict(),
            "method": {"name": self.method.name, **self.method.as_dict()},
            "seed": self.seed,
            "repeat": self.repeat,
        }
