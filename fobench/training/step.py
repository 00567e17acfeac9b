"""One training step: forward pass, loss, backward pass, update, running sums.

It is carried out operation by operation, or by replaying a CUDA graph of all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from fobench.activations.frozen_prefix import FrozenPrefix, forward
from fobench.cutting.attributes import decided_in_python
from fobench.experiment.options import TrainOptions
from fobench.machine.device import autocast
from fobench.machine.graphs import Graphs, Repeated
from fobench.machine.ranks import ALONE, Ranks
from fobench.machine.values import Values, first_of, map_values
from fobench.training.gradients import Gradients
from fobench.training.optimizer import update
from fobench.training.totals import Totals


@dataclass(frozen=True)
class Batch:
    """What a step trains on: labels [B], and values from which `prefix` computes the inputs.

    If units are frozen, the values can be of more than B images; the first B count. They are this
    rank's part of a batch of `images`.
    """

    values: Values
    labels: torch.Tensor
    prefix: FrozenPrefix
    images: int

    @property
    def share(self) -> float:
        """This rank's share of the images."""
        return len(self.labels) / self.images


class Step(Protocol):
    """A training step, and the sums over the images that it was taken on."""

    totals: Totals

    def __call__(self, number: int, batch: Batch) -> None:
        """Train on a batch, as step `number` of the run, counted from 0."""


class EagerStep:
    """A training step, operation by operation."""

    def __init__(
        self,
        network: nn.Sequential,
        optimizer: Optimizer,
        options: TrainOptions,
        ranks: Ranks = ALONE,
    ) -> None:
        self.network, self._optimizer, self._options = network, optimizer, options
        self._units = list(network)
        self._gradients = Gradients(list(network.parameters()), ranks)
        self._device = next(network.parameters()).device
        self.totals = Totals.zero(self._device)

    def __call__(self, number: int, batch: Batch) -> None:
        self.work(batch.prefix, batch.share, batch.values, batch.labels)
        self.totals.images += batch.images

    def work(
        self, prefix: FrozenPrefix, share: float, values: Values, labels: torch.Tensor
    ) -> None:
        """All that happens on the device."""
        options = self._options
        with autocast(self._device, options.precision):
            # Detached: a view that was made without gradients could not be written to in place.
            inputs = map_values(torch.detach, prefix.forward(self._units, values))
            inputs = first_of(inputs, len(labels))
            logits = forward(self._units[prefix.end :], inputs)
            loss = cross_entropy(logits, labels, label_smoothing=options.label_smoothing)
        part = loss if share == 1 else loss * share
        update(self._optimizer, part, self._gradients, options.clip_grad_norm)
        self.totals.add(loss, logits, labels)


class GraphStep:
    """A training step as CUDA graphs: one for each frozen prefix and length of batch.

    The first step of each is taken eagerly, the second is captured, then replayed, as are all
    later ones. Where few are left until the next unit freezes, none is captured.

    What a graph reads stays where it is: the batch is copied to it, while parameters, moments,
    running statistics, learning rates and totals are updated in place.
    """

    def __init__(self, step: EagerStep, graphs: Graphs, steps: "StepsUntilFreeze") -> None:
        self.totals = step.totals
        self._step, self._graphs, self._steps = step, graphs, steps
        self._repeated: dict[tuple[FrozenPrefix, int], Repeated[None]] = {}

    def __call__(self, number: int, batch: Batch) -> None:
        # By all images, so that all ranks capture in the same steps.
        key = batch.prefix, batch.images
        if key not in self._repeated:
            in_python = partial(decided_in_python, self._step.network)
            work = partial(self._step.work, batch.prefix, batch.share)
            self._repeated[key] = Repeated(work, self._graphs, in_python)
        repeated = self._repeated[key]
        if repeated.is_captured:
            repeated(batch.values, batch.labels)
        else:
            left = self._steps.left(number, batch.images)
            repeated(batch.values, batch.labels, calls_left=left)
            if repeated.is_captured:
                self._forget_others(batch.prefix.end)
        self.totals.images += batch.images

    def _forget_others(self, frozen: int) -> None:
        """Units do not thaw: what was captured with fewer of them frozen is not needed again."""
        self._repeated = {key: each for key, each in self._repeated.items() if key[0].end == frozen}


@dataclass(frozen=True)
class StepsUntilFreeze:
    """When units freeze in a run, for which `freeze_steps` holds the first step frozen, by unit."""

    freeze_steps: Sequence[int]
    total_steps: int
    steps_per_epoch: int
    batch_size: int

    def left(self, number: int, images: int) -> int:
        """Steps from `number` on, with as many images, until another unit freezes.

        A short batch comes once an epoch.
        """
        later = [step for step in self.freeze_steps if step > number]
        steps = min([*later, self.total_steps]) - number
        return steps if images == self.batch_size else math.ceil(steps / self.steps_per_epoch)
