"""Runs on random images, for measurements that need no others."""

from typing import Any

import torch

from fobench.data.split import Data, Split
from fobench.experiment.options import DataOptions, TrainOptions
from fobench.experiment.run import DataUsed, Run
from fobench.methods import BaselineOptions
from fobench.models import ModelOptions

SIDE = 32  # pixels
# So small that thousands of steps on one batch leave the values of activations as they were.
RATE = 1e-5


def run_of(
    model: ModelOptions,
    images: int,
    batch: int,
    epochs: int,
    classes: int = 100,
    **train: Any,
) -> Run:
    """A run on random images; the paper's, unless other options are given."""
    used = DataUsed("random", "", classes, (SIDE, SIDE, 3), images, 0, images)
    options = TrainOptions(epochs=epochs, batch_size=batch, **{"lr": RATE} | train)
    data = DataOptions(dataset=("random",))
    return Run(data, used, model, options, BaselineOptions(), seed=0)


def random_data(run: Run, device: torch.device) -> Data:
    """Random images and labels for a run; those evaluated are a batch of the same."""
    images, classes = run.data_used.train_images, run.data_used.classes
    mean, std = torch.full((3,), 128.0, device=device), torch.full((3,), 64.0, device=device)
    shape = images, SIDE, SIDE, 3
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    labels = torch.randint(classes, (images,), device=device)
    few = slice(run.train.batch_size)
    evaluated = Split(pixels[few], labels[few], mean, std)
    return Data(Split(pixels, labels, mean, std), evaluated, evaluated)
