"""The training loop: takes a run, yields one row per epoch.

Everything that a method causes is inside the timed block: drawing the order and the augmentation,
batches, building and reading stores of activations, the training step, freezing, capturing the step
anew after a freeze. Networks are built before it, and evaluation is timed separately. No step waits
for the device, unless a store is built or the step captured.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fobench.costs.flops import tests_of
from fobench.data.order import Indices
from fobench.data.split import Split
from fobench.machine.clock import timed
from fobench.machine.device import autocast
from fobench.machine.memory import peak_memory
from fobench.machine.ranks import ALONE, Ranks
from fobench.machine.seeds import generator
from fobench.records.epochs import Epoch
from fobench.training.state import Training
from fobench.training.step import Batch, Step
from fobench.training.totals import Totals
from fobench.training.warmup import evaluation_batch_size


class DivergedError(Exception):
    """A loss is no longer a finite number."""


class Progress(Protocol):
    """Receives a call after each training step."""

    def step(self, images: int, frozen: int) -> None: ...


def train(training: Training, progress: Progress) -> Iterator[Epoch]:
    """Train a run from its current state to its end, yielding a row after each epoch.

    Raises DivergedError at the end of the epoch in which a loss stopped being finite.
    """
    run, data, device = training.run, training.data, training.device
    network, batch_size = training.network, evaluation_batch_size(run, device)
    precision, ranks = run.train.precision, training.ranks
    while not training.is_done:
        epoch = training.epoch
        steps = min(run.steps_per_epoch, run.total_steps - training.step)
        training.start_member()  # before the clock starts, as the first was built before it
        ranks.all(True)  # all start the clock together, whatever the first one has written
        with timed(device) as trained:
            totals = train_epoch(training, epoch, steps, progress)
        peak = peak_memory(device)  # on a GPU from the start on, with earlier epochs' evaluation
        training.total_train_seconds += trained.seconds
        train_loss, train_error = totals.means()
        require_finite(train_loss, f"the training loss of epoch {epoch + 1}")
        with timed(device) as evaluation:
            val_loss, val_error = evaluate(network, data.validation, batch_size, precision, ranks)
            test_loss, test_error = (
                evaluate(network, data.test, batch_size, precision, ranks)
                if training.is_done
                else (None, None)
            )
        require_finite(val_loss, f"the validation loss after epoch {epoch + 1}")
        require_finite(test_loss, "the test loss")
        yield Epoch(
            epoch=epoch + 1,
            step=training.step,
            frozen_units=training.scheduler.frozen,
            cached_units=training.activations.cut,
            train_loss=train_loss,
            train_error=train_error,
            val_loss=val_loss,
            val_error=val_error,
            test_loss=test_loss,
            test_error=test_error,
            train_seconds=trained.seconds,
            total_train_seconds=training.total_train_seconds,
            train_cpu_seconds=trained.cpu_seconds,
            eval_seconds=evaluation.seconds,
            images_per_second=totals.images / trained.seconds,
            cache_bytes=training.activations.bytes,
            peak_memory_bytes=peak,
        )


def seconds_of_test(training: Training, rows: Sequence[Epoch]) -> float:
    """The seconds that testing should take after the next epoch; 0 unless that is the last."""
    run, data = training.run, training.data
    if training.epoch != run.epochs - 1:
        return 0.0
    if len(data.validation):
        per_image = rows[-1].eval_seconds / len(data.validation)
    else:
        # To train the whole network on an image takes longer than to test it.
        per_image = max(row.train_seconds for row in rows) / len(data.train)
    # The network is tested by all ranks, an ensemble by the first.
    passes = 1 + (tests_of(run) - 1) * training.ranks.count
    return per_image * len(data.test) * passes


def require_finite(loss: float | None, what: str) -> None:
    if loss is not None and not math.isfinite(loss):
        raise DivergedError(f"{what} is {loss}")


def train_epoch(training: Training, epoch: int, steps: int, progress: Progress) -> Totals:
    """The first `steps` training steps of an epoch."""
    scheduler = training.scheduler
    batches = start_epoch(training, epoch)[:steps]
    with training.data.train.ahead(map(training.part_of, batches)):
        for number, indices in enumerate(batches, start=training.step):
            training.prepare_step(number)
            train_step(training, number, indices, scheduler.frozen, training.take_step)
            progress.step(len(indices), scheduler.frozen)
    training.end_epoch(steps)
    training.take_step.totals.add_up(training.ranks)
    return training.take_step.totals


def start_epoch(training: Training, epoch: int) -> list[Indices]:
    """Start an epoch. Returns its batches, as indices of images, in an order drawn for it."""
    run, split = training.run, training.data.train
    order = torch.randperm(len(split), generator=generator(run.seed, epoch, "order"))
    batches = list(Indices.of(order, training.device).batches(run.train.batch_size))
    training.take_step.totals.reset()
    training.start_epoch(epoch)
    return batches


def train_step(
    training: Training, number: int, indices: Indices, frozen: int, take_step: Step
) -> None:
    """Train on a batch with the first `frozen` units frozen, as step `number` of the run.

    This rank does so on its part of the batch.
    """
    part = training.part_of(indices)
    values, prefix = training.activations.inputs(part, frozen)
    labels = training.data.train.labels_at(part.device)
    take_step(number, Batch(values, labels, prefix, len(indices)))


@torch.no_grad()
def evaluate(
    network: nn.Sequential,
    split: Split,
    batch_size: int,
    precision: str = "float32",
    ranks: Ranks = ALONE,
) -> tuple[float | None, float | None]:
    """Mean loss, and error in percent, on unaugmented images; None without images.

    The batches are dealt out to the ranks.
    """
    if not len(split):
        return None, None
    network.eval()
    device = split.labels.device
    totals = Totals.zero(device)
    for images, labels in split.in_order(batch_size, ranks.turns):
        with autocast(device, precision):
            logits = network(images)
            loss = cross_entropy(logits, labels)
        totals.add(loss, logits, labels)
    totals.images = len(split)
    totals.add_up(ranks)
    return totals.means()
