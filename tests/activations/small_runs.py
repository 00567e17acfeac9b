"""Runs that store activations, as small as they can be: made, trained and compared."""

from dataclasses import replace
from pathlib import Path

import torch

from fobench.activations import plan as store_plan
from fobench.activations.plan import StorePlan
from fobench.data import split as data
from fobench.data.dataset import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.run import Run, expand
from fobench.methods import start as methods
from fobench.methods.options import FreezeOutOptions
from fobench.models import build
from fobench.models.families import FAMILIES
from fobench.records.runs import Epoch
from fobench.training.loop import Training, train
from tests.networks import EXAMPLES

CPU = torch.device("cpu")
IMAGES = 45  # 5 steps an epoch, the last batch of 5
DATASET = open_synthetic(IMAGES, 20)
AMPLE = 1 << 40


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


def small_run(config: Path, family: str) -> Run:
    """A run of 8 epochs of that network, on the images of the tiny experiment `config`."""
    changes = ["data.train_size=45", "data.validation=0", "data.test_size=20", "train.epochs=8"]
    run = expand(load(config, changes), DATASET)[0]
    model = FAMILIES[family](**EXAMPLES[family])
    return replace(run, family=family, model=model)


def augmented(run: Run, augment: str) -> Run:
    return replace(run, data=replace(run.data, augment=augment))


def method(run: Run, **options) -> Run:
    chosen = {"scaling": "linear", "t0": 0.15} | options
    return replace(run, method_name="freezeout", method=FreezeOutOptions(**chosen))


def loaded(run: Run) -> data.Data:
    return data.load(DATASET, run.data_used, run.data.augment, CPU)


def plan_of_all(run: Run, every: int = 1, room: int = AMPLE) -> StorePlan:
    """A store behind all that is frozen, built anew in every epoch, or in some."""
    units = len(methods_units(run))
    found = methods.epochs_with_frozen_units(run, units)
    builds = []
    for seen in store_plan.by_view(found, run.method.views or 1):
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
