"""Runs that store activations, as small as they can be: made, trained and compared."""

from dataclasses import replace
from pathlib import Path

import torch

from fobench.activations.plan import StorePlan, by_view
from fobench.activations.plan_file import frozen_epochs_of
from fobench.data import split
from fobench.data.order import Indices
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.methods import FreezeOutOptions
from fobench.models import FAMILIES, build
from fobench.records.epochs import Epoch
from fobench.training.loop import train
from fobench.training.state import Training
from tests.networks import EXAMPLES

CPU = torch.device("cpu")
IMAGES = 45  # 5 steps an epoch, the last batch of 5
DATASET = open_synthetic("synthetic16", IMAGES, 20)
AMPLE = 1 << 40


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


def small_run(config: Path, family: str) -> Run:
    """A run of 8 epochs of that network, on the images of the tiny experiment `config`."""
    changes = ["data.train_size=45", "data.validation=0", "data.test_size=20", "train.epochs=8"]
    run = expand(load(config, changes), DATASET)[0]
    model = FAMILIES[family](**EXAMPLES[family])
    return replace(run, model=model)


def augmented(run: Run, augment: str) -> Run:
    return replace(run, data=run.data.replace(augment=augment))


def method(run: Run, **options) -> Run:
    chosen = {"scaling": "linear", "t0": 0.15} | options
    return replace(run, method=FreezeOutOptions(**chosen))


def loaded(run: Run) -> split.Data:
    return split.load(DATASET, run.data_used, run.data.augment, CPU)


def plan_of_all(run: Run, every: int = 1, room: int = AMPLE) -> StorePlan:
    """A store behind all that is frozen, rebuilt in every epoch, or in some."""
    found = frozen_epochs_of(run)
    builds = []
    for seen in by_view(found, run.method.stores.views or 1):
        at = 0
        for use in seen[::every]:
            if use.storable > at:
                at = use.storable
                builds.append((use.epoch, at))
    assert builds
    return StorePlan(builds=tuple(sorted(builds)), place="host memory", room=room)


def methods_units(run: Run) -> torch.nn.Sequential:
    with torch.device("meta"):
        return build(run.family, 10, 3, **vars(run.model))


def train_all(run: Run, plan: StorePlan) -> tuple[Training, list[Epoch]]:
    training = Training(run, loaded(run), CPU, plan)
    return training, list(train(training, Unseen()))


def first_images() -> Indices:
    """Those of a full batch."""
    return Indices.of(torch.arange(10), CPU)


def learned(rows: list[Epoch]) -> list[tuple]:
    return [
        (row.train_loss, row.train_error, row.val_loss, row.test_loss, row.test_error)
        for row in rows
    ]


def same_weights(one: Training, other: Training) -> bool:
    states = zip(
        one.network.state_dict().values(), other.network.state_dict().values(), strict=True
    )
    return all(torch.equal(*each) for each in states)
