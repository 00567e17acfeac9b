"""The training loop: takes a run, yields one row per epoch.

Everything that a method causes is inside the timed block: drawing the order and the augmentation,
batches, building and reading stores of activations, forward and backward pass, optimizer, freezing.
Evaluation is timed separately. No step waits for the device, unless a store is built.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fobench.activations.inputs import forward
from fobench.data.split import Split
from fobench.machine.clock import timed
from fobench.machine.device import pinned
from fobench.machine.memory import peak_memory
from fobench.machine.seeds import generator, seed_globally
from fobench.records.epochs import Epoch
from fobench.training.state import Training


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
    network, batch_size = training.network, run.train.batch_size
    while not training.is_done:
        epoch = training.epoch
        steps = min(run.steps_per_epoch, run.total_steps - training.step)
        with timed(device) as trained:
            totals = train_epoch(training, epoch, steps, progress)
        training.step += steps
        training.total_train_seconds += trained.seconds
        train_loss, train_error = totals.means()
        require_finite(train_loss, f"the training loss of epoch {epoch + 1}")
        with timed(device) as evaluation:
            val_loss, val_error = evaluate(network, data.validation, batch_size)
            test_loss, test_error = (
                evaluate(network, data.test, batch_size) if training.is_done else (None, None)
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
            peak_memory_bytes=peak_memory(device),
        )


def require_finite(loss: float | None, what: str) -> None:
    if loss is not None and not math.isfinite(loss):
        raise DivergedError(f"{what} is {loss}")


@dataclass
class Totals:
    """Sums over images, kept on the device."""

    loss: torch.Tensor
    wrong: torch.Tensor
    images: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> "Totals":
        return cls(*torch.zeros(2, dtype=torch.float64, device=device))

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch with its mean loss []."""
        self.loss += loss.detach() * len(labels)
        self.wrong += (logits.detach().argmax(dim=1) != labels).sum()
        self.images += len(labels)

    def means(self) -> tuple[float, float]:
        """Mean loss, and error in percent."""
        return float(self.loss) / self.images, 100 * float(self.wrong) / self.images


def train_epoch(training: Training, epoch: int, steps: int, progress: Progress) -> Totals:
    """The first `steps` training steps of an epoch."""
    run, split, units = training.run, training.data.train, list(training.network)
    scheduler, optimizer = training.scheduler, training.optimizer
    activations = training.activations
    order = torch.randperm(len(split), generator=generator(run.seed, epoch, "order"))
    totals = Totals.zero(training.device)
    seed_globally(run.seed, epoch, "dropout")
    training.network.train()
    activations.start(epoch)
    for indices in pinned(order, training.device).split(run.train.batch_size)[:steps]:
        scheduler.step()
        inputs, labels = activations.inputs(indices, scheduler.frozen), split.labels_at(indices)
        logits = forward(units[scheduler.frozen :], inputs)
        loss = cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        totals.add(loss, logits, labels)
        progress.step(len(indices), scheduler.frozen)
    activations.end()
    return totals


@torch.no_grad()
def evaluate(
    network: nn.Sequential, split: Split, batch_size: int
) -> tuple[float | None, float | None]:
    """Mean loss, and error in percent, on unaugmented images; None without images."""
    if not len(split):
        return None, None
    network.eval()
    totals = Totals.zero(split.labels.device)
    for indices in torch.arange(len(split), device=split.labels.device).split(batch_size):
        images, labels = split.batch(indices)
        logits = network(images)
        totals.add(cross_entropy(logits, labels), logits, labels)
    return totals.means()
