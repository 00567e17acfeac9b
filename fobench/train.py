"""The training loop: one run in, a row an epoch out.

Everything that a method causes stands inside the timed span: drawing the order and the
augmentation, the batches, building and reading stores of activations, the forward and backward
pass, the optimizer, the freezing. Evaluation is timed apart. But where a store is built, no step
waits for the device.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from fobench import device as devices
from fobench import methods, models
from fobench.clock import timed
from fobench.config import TrainOptions
from fobench.data import Data, Split
from fobench.precompute import Activations, forward
from fobench.results import Epoch
from fobench.run import Run
from fobench.seeds import generator, seed_globally
from fobench.store_plan import NOTHING, StorePlan
from fobench.warmup import warm_up


class DivergedError(Exception):
    """A loss is no longer a finite number."""


class Progress(Protocol):
    """Who wants to see the training as it goes."""

    def step(self, images: int, frozen: int) -> None: ...


class Training:
    """A run under way: all that changes as it trains. Random numbers derive from its seed alone."""

    def __init__(
        self, run: Run, data: Data, device: torch.device, plan: StorePlan = NOTHING
    ) -> None:
        devices.set_determinism(run.train.deterministic)
        self.run, self.data, self.device = run, data, device
        self.network = build_network(run).to(device, memory_format=torch.channels_last)
        self.optimizer, self.method = methods.start(
            run, self.network, lambda groups: sgd(groups, run.train)
        )
        self.activations = Activations(run, self.network, data.train, plan)
        self.step, self.total_train_seconds = 0, 0.0
        warm_up(self.network, self.optimizer, data.train, run.train.batch_size)
        devices.reset_peak_memory(device)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return -(-self.step // self.run.steps_per_epoch)

    @property
    def is_done(self) -> bool:
        return self.step == self.run.total_steps

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on exactly, between two epochs."""
        return {
            "step": self.step,
            "total_train_seconds": self.total_train_seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.method.state_dict(),
            "activations": self.activations.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, in a new Training of the same run."""
        self.step, self.total_train_seconds = state["step"], state["total_train_seconds"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self.activations.load_state_dict(state["activations"])


def train(training: Training, progress: Progress) -> Iterator[Epoch]:
    """Train a run to its end from where it is, yielding the row of each epoch when it ends.

    Raises DivergedError at the end of the epoch in which a loss ceased to be finite.
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
            frozen_units=training.method.frozen,
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
            peak_memory_bytes=devices.peak_memory(device),
        )


def require_finite(loss: float | None, what: str) -> None:
    if loss is not None and not math.isfinite(loss):
        raise DivergedError(f"{what} is {loss}")


def build_network(run: Run) -> nn.Sequential:
    """The run's network with the initial weights of its seed, the same on every device."""
    seed_globally(run.seed, 0, "weights")
    channels = run.data_used.image_shape[2]
    return models.build(run.family, run.data_used.classes, channels, **vars(run.model))


def sgd(groups: Iterable[Any], options: TrainOptions) -> Optimizer:
    return SGD(
        groups,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
    )


@dataclass
class Totals:
    """Sums over images, kept on the device until the end."""

    loss: torch.Tensor
    wrong: torch.Tensor
    images: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> "Totals":
        return cls(*torch.zeros(2, dtype=torch.float64, device=device))

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count a batch with its mean loss []."""
        self.loss += loss.detach() * len(labels)
        self.wrong += (logits.detach().argmax(dim=1) != labels).sum()
        self.images += len(labels)

    def means(self) -> tuple[float, float]:
        """Mean loss, and error in percent."""
        return float(self.loss) / self.images, 100 * float(self.wrong) / self.images


def train_epoch(training: Training, epoch: int, steps: int, progress: Progress) -> Totals:
    """The first `steps` training steps of an epoch."""
    run, split, method = training.run, training.data.train, training.method
    optimizer, units = training.optimizer, list(training.network)
    activations = training.activations
    order = torch.randperm(len(split), generator=generator(run.seed, epoch, "order"))
    totals = Totals.zero(training.device)
    seed_globally(run.seed, epoch, "dropout")
    training.network.train()
    activations.start(epoch)
    for indices in devices.ahead(order, training.device).split(run.train.batch_size)[:steps]:
        method.step()
        inputs, labels = activations.inputs(indices, method.frozen), split.labels_at(indices)
        logits = forward(units[method.frozen :], inputs)
        loss = cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        totals.add(loss, logits, labels)
        progress.step(len(indices), method.frozen)
    activations.end()
    return totals


@torch.no_grad()
def evaluate(
    network: nn.Sequential, split: Split, batch_size: int
) -> tuple[float | None, float | None]:
    """Mean loss, and error in percent, on unaugmented images; None where there are no images."""
    if not len(split):
        return None, None
    network.eval()
    totals = Totals.zero(split.labels.device)
    for indices in torch.arange(len(split), device=split.labels.device).split(batch_size):
        images, labels = split.batch(indices)
        logits = network(images)
        totals.add(cross_entropy(logits, labels), logits, labels)
    return totals.means()
