"""The runs of an experiment on its data set. No torch."""

import re
from collections.abc import Sequence, Sized
from itertools import product
from pathlib import Path
from typing import Protocol

from fobench.errors import UserError, printable
from fobench.experiment.config import Experiment
from fobench.experiment.options import DataOptions
from fobench.experiment.run import DataUsed, Run
from fobench.freezing import schedule

# The end of the name of a set whose images were prepared in a size.
SIZE = re.compile(r"-[0-9]+(x[0-9]+)?px$")


class DataSetInfo(Protocol):
    """The part of `fobench.data.dataset.DataSet` that experiments depend on."""

    name: str
    fingerprint: str
    classes: Sequence[str]
    train_images: Sized
    test_images: Sized

    @property
    def image_shape(self) -> tuple[int, int, int]: ...


def expand(experiment: Experiment, dataset: DataSetInfo) -> list[Run]:
    """The runs of an experiment, all methods of a seed in a row, so that drift affects all alike.

    Raises UserError if the experiment and the data set do not fit.
    """
    problems = mismatches(experiment, dataset)
    if problems:
        raise UserError(problems)
    used = data_used(experiment.data, dataset)
    return [
        Run(experiment.data, used, experiment.model, experiment.train, method, seed, repeat)
        for seed, repeat, method in product(
            experiment.seeds, range(experiment.repeats), experiment.methods
        )
    ]


def images_needed(data: DataOptions) -> int | None:
    """How many training images a config needs, including those held out; None for all."""
    return None if data.train_size is None else data.train_size + data.validation


def data_used(data: DataOptions, dataset: DataSetInfo) -> DataUsed:
    """How much of the data set a config uses; `mismatches` checks that there is as much."""
    held_out = data.validation
    available = len(dataset.train_images)
    return DataUsed(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        classes=len(dataset.classes),
        image_shape=tuple(int(size) for size in dataset.image_shape),
        train_images=available - held_out if data.train_size is None else data.train_size,
        validation_images=held_out,
        test_images=len(dataset.test_images) if data.test_size is None else data.test_size,
    )


def mismatches(experiment: Experiment, dataset: DataSetInfo) -> list[str]:
    """All mismatches between an experiment and the data set."""
    used, batch_size = data_used(experiment.data, dataset), experiment.train.batch_size
    available, test_images = len(dataset.train_images), len(dataset.test_images)
    problems = []
    if used.train_images < 2 or used.train_images + used.validation_images > available:
        asked = "the rest" if experiment.data.train_size is None else used.train_images
        problems.append(
            f"[data] train_size asks for {asked} and validation for {used.validation_images} of "
            f"the {available} training images of {used.name}: lower validation or train_size"
        )
    if used.test_images > test_images:
        problems.append(
            f"[data] test_size = {used.test_images}, but {used.name} has {test_images} test images"
        )
    if used.train_images > 2 and used.train_images % batch_size == 1:
        problems.append(
            f"[train] batch_size = {batch_size} leaves a last batch of one of the "
            f"{used.train_images} training images, which BatchNorm cannot take: "
            f"set data.train_size = {used.train_images - 1} or another batch_size"
        )
    model = experiment.model
    if min(used.image_shape[:2]) < model.smallest_image:
        height, width = used.image_shape[:2]
        problems.append(
            f"[model] {model.title()} needs images of at least {model.smallest_image} pixels per "
            f"side, {used.name} has {height}x{width}: choose another network or larger images"
        )
    epochs = experiment.train.epochs
    for share in sorted({method.epoch_share for method in experiment.methods}):
        if schedule.total_steps(max(1, used.train_images), batch_size, epochs, share) < 1:
            problems.append(f"[[method]] epoch_share = {share} leaves no training step: raise it")
    images = max(1, used.train_images)
    return problems + part_problems(experiment, images) + warmup_problems(experiment, images)


def part_problems(experiment: Experiment, images: int) -> list[str]:
    """Ensembles whose members would not be trained for whole epochs."""
    problems, train = [], experiment.train
    per_epoch = schedule.steps_per_epoch(images, train.batch_size)
    for method in experiment.methods:
        size, share = method.ensemble_size, method.epoch_share
        steps = schedule.total_steps(images, train.batch_size, train.epochs, share)
        if size > 1 and steps % (size * per_epoch):
            problems.append(
                f"[[method]] {method.name}: it trains {share * train.epochs:.4g} epochs, which do "
                f"not divide into {size} equal parts of whole epochs: change their number, "
                "train.epochs or epoch_share"
            )
    return list(dict.fromkeys(problems))


def warmup_problems(experiment: Experiment, images: int) -> list[str]:
    """Methods whose learning rates warm up over all the steps that they train."""
    problems, train = [], experiment.train
    per_epoch = schedule.steps_per_epoch(images, train.batch_size)
    warmup = schedule.warmup_steps(train.warmup_epochs, per_epoch)
    for method in experiment.methods:
        steps = method.steps_of_a_start(
            schedule.total_steps(images, train.batch_size, train.epochs, method.epoch_share)
        )
        if warmup and steps <= warmup:
            problems.append(
                f"[train] warmup_epochs = {train.warmup_epochs:g} takes {warmup} steps, but "
                f"[[method]] {method.name} trains {steps} from its start on, so never at its full "
                "rates: lower it, or raise train.epochs or epoch_share"
            )
    return list(dict.fromkeys(problems))


def dataset_title(used: str, requested: Sequence[str]) -> str:
    """The name of the set used, with a note if it is not the first one requested.

    A name can be that of a file, and hold any characters. That of a set of resized images, or of a
    folder of images, ends with their size.
    """
    path = Path(requested[0])
    names = (requested[0], path.stem, path.name)
    # "." and ".." have no name of their own.
    if used in names or SIZE.sub("", used) in names or path.name in ("", ".."):
        return printable(used)
    return printable(f"{used} ({requested[0]} not found)")
