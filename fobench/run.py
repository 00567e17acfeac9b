"""A run: one training, wholly described; the runs of an experiment and their ids. No torch."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from fobench import schedule
from fobench.config import DataOptions, Experiment, TrainOptions
from fobench.datasets import DataSet
from fobench.errors import UserError
from fobench.method_options import BaselineOptions, MethodOptions
from fobench.models.families import ModelOptions
from fobench.options import differing

# Options of a method that change what is stored; of what is trained on no more than the rounding.
STORING = frozenset({"precompute", "store", "budget", "plan"})
# Families whose step counter the published code never advances.
STANDS_STILL = frozenset({"vgg"})


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


@dataclass(frozen=True)
class Run:
    """One training: data × network × training options × method × seed × repeat.

    `matched_steps` are those of a method that matches time, as `fobench.cost.match` finds them.
    """

    data: DataOptions
    data_used: DataUsed
    family: str
    model: ModelOptions
    train: TrainOptions
    method_name: str
    method: MethodOptions
    seed: int
    repeat: int = 0
    matched_steps: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        return schedule.steps_per_epoch(self.data_used.train_images, self.train.batch_size)

    @property
    def total_steps(self) -> int:
        """Raises ValueError for a run that matches time and has not been matched."""
        if not self.method.match_time:
            return self.steps_by_share
        if self.matched_steps is None:
            raise ValueError("a run that matches time has no steps before fobench.cost.match")
        return self.matched_steps

    @property
    def steps_by_share(self) -> int:
        """The steps of the whole epochs' share."""
        return schedule.total_steps(
            self.data_used.train_images,
            self.train.batch_size,
            self.train.epochs,
            self.method.epoch_share,
        )

    @property
    def epochs(self) -> int:
        """Epochs begun; the last may be partial."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def its_baseline(self) -> "Run":
        """The run that this one is compared with."""
        return replace(self, method_name="baseline", method=BaselineOptions(), matched_steps=None)

    @property
    def its_control(self) -> "Run | None":
        """The baseline that does as the published code's VGG does: its rate stays constant."""
        if self.method_name != "freezeout" or self.anneals:
            return None
        return replace(self.its_baseline, method=BaselineOptions(annealing="constant"))

    @property
    def its_uncached(self) -> "Run | None":
        """The run that sees the same inputs and stores nothing; None where this one is it."""
        if not self.method.precompute:
            return None
        without = {
            key: value for key, value in differing(self.method).items() if key not in STORING
        }
        return replace(self, method=type(self.method)(**without))

    @property
    def anneals(self) -> bool:
        """Whether the rates are annealed at all; the published code's VGG stays at step 0."""
        if self.method_name == "baseline":
            return self.method.annealing == "cosine"
        return self.method.compat == "none" or self.family not in STANDS_STILL

    @property
    def id(self) -> str:
        """A readable name, unique by the hash of all that makes the run what it is.

        The hash leaves out options at their defaults, so that an option added later does not
        orphan earlier results.
        """
        used, data = self.data_used, differing(self.data)
        del data["dataset"]  # which sets were asked for; what counts is the one used
        identity = {
            "data": [used.name, used.fingerprint, used.classes, data],
            "model": [self.family, differing(self.model)],
            "train": differing(self.train),
            "method": [self.method_name, differing(self.method)],
            "seed": self.seed,
            "repeat": self.repeat,
        }
        if self.matched_steps is not None:
            identity["steps"] = self.matched_steps
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        dataset = re.sub(r"[^A-Za-z0-9.-]+", "-", used.name)[:40]
        repeat = f"-repeat{self.repeat}" if self.repeat else ""
        return (
            f"{self.model.slug()}_{dataset}_{self.method.slug()}_seed{self.seed}{repeat}-{digest}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The run as it stands in run.json."""
        return {
            "data": asdict(self.data),
            "data_used": asdict(self.data_used),
            "model": {"name": self.family, "title": self.model.title(), **asdict(self.model)},
            "train": asdict(self.train),
            "method": {"name": self.method_name, **asdict(self.method)},
            "seed": self.seed,
            "repeat": self.repeat,
        }


def images_needed(data: DataOptions) -> int | None:
    """How many training images a config asks for, those held out included; None for all."""
    return None if data.train_size is None else data.train_size + data.validation


def use(data: DataOptions, dataset: DataSet) -> DataUsed:
    """How much of the data set a config uses; `misfits` tells whether there is as much."""
    held_out = data.validation
    there = len(dataset.train_images)
    return DataUsed(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        classes=len(dataset.classes),
        image_shape=tuple(int(size) for size in dataset.image_shape),
        train_images=there - held_out if data.train_size is None else data.train_size,
        validation_images=held_out,
        test_images=len(dataset.test_images) if data.test_size is None else data.test_size,
    )


def misfits(experiment: Experiment, dataset: DataSet) -> list[str]:
    """All in which an experiment does not fit the data set."""
    used, batch_size = use(experiment.data, dataset), experiment.train.batch_size
    there, tests = len(dataset.train_images), len(dataset.test_images)
    problems = []
    if used.train_images < 2 or used.train_images + used.validation_images > there:
        asked = "the rest" if experiment.data.train_size is None else used.train_images
        problems.append(
            f"[data] train_size asks for {asked} and validation for {used.validation_images} of "
            f"the {there} training images of {used.name}: lower validation or train_size"
        )
    if used.test_images > tests:
        problems.append(
            f"[data] test_size = {used.test_images}, but {used.name} has {tests} test images"
        )
    if used.train_images > 2 and used.train_images % batch_size == 1:
        problems.append(
            f"[train] batch_size = {batch_size} leaves a last batch of one of the "
            f"{used.train_images} training images, which BatchNorm cannot take: "
            f"set data.train_size = {used.train_images - 1} or another batch_size"
        )
    model = experiment.model[1]
    if min(used.image_shape[:2]) < model.smallest_image:
        height, width = used.image_shape[:2]
        problems.append(
            f"[model] {model.title()} takes images of at least {model.smallest_image} pixels a "
            f"side, {used.name} has {height}x{width}: choose another network or larger images"
        )
    epochs = experiment.train.epochs
    for share in sorted({method.epoch_share for _, method in experiment.methods}):
        if schedule.total_steps(max(1, used.train_images), batch_size, epochs, share) < 1:
            problems.append(f"[[method]] epoch_share = {share} leaves no training step: raise it")
    return problems


def expand(experiment: Experiment, dataset: DataSet) -> list[Run]:
    """The runs of an experiment, all methods of a seed together, so that drift hits all alike.

    Raises UserError if the experiment and the data set do not fit.
    """
    problems = misfits(experiment, dataset)
    if problems:
        raise UserError(problems)
    used = use(experiment.data, dataset)
    return [
        Run(experiment.data, used, *experiment.model, experiment.train, *method, seed, repeat)
        for seed, repeat, method in product(
            experiment.seeds, range(experiment.repeats), experiment.methods
        )
    ]
