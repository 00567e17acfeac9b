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
from fobench.machine.values import Values, first_of, map_values
from fobench.training.optimizer import update
from fobench.training.totals import Totals


@dataclass(frozen=True)
class Batch:
    """What a step trains on: labels [B], and values from which `prefix` computes the inputs.

    If units are frozen, the values can be of more than B images; the first B count.
    """

    values: Values
    labels: torch.Tensor
    prefix: FrozenPrefix

    def __len__(self) -> int:
        return len(self.labels)


class Step(Protocol):
    """A training step, and the sums over the images that it was taken on."""

    totals: Totals

    def __call__(self, number: int, batch: Batch) -> None:
        """Train on a batch, as step `number` of the run, counted from 0."""


class EagerStep:
    """A training step, operation by operation."""

    def __init__(self, network: nn.Sequential, optimizer: Optimizer, options: TrainOptions) -> None:
        self.network, self._optimizer, self._options = network, optimizer, options
        self._units = list(network)
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        self.totals = Totals.zero(self._device)

    def __call__(self, number: int, batch: Batch) -> None:
        self.work(batch.prefix, batch.values, batch.labels)
        self.totals.images += len(batch)

    def work(self, prefix: FrozenPrefix, values: Values, labels: torch.Tensor) -> None:
        """All that happens on the device."""
        options = self._options
        with autocast(self._device, options.precision):
            # Detached: a view that was made without gradients could not be written to in place.
            inputs = map_values(torch.detach, prefix.forward(self._units, values))
            inputs = first_of(inputs, len(labels))
            logits = forward(self._units[prefix.end :], inputs)
            loss = cross_entropy(logits, labels, label_smoothing=options.label_smoothing)
        update(self._optimizer, loss, self._parameters, options.clip_grad_norm)
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
        key = batch.prefix, len(batch)
        if key not in self._repeated:
            in_python = partial(decided_in_python, self._step.network)
            work = partial(self._step.work, batch.prefix)
            self._repeated[key] = Repeated(work, self._graphs, in_python)
        repeated = self._repeated[key]
        if repeated.is_captured:
            repeated(batch.values, batch.labels)
        else:
            left = self._steps.left(number, len(batch))
            repeated(batch.values, batch.labels, calls_left=left)
            if repeated.is_captured:
                self._forget_others(batch.prefix.end)
        self.totals.images += len(batch)

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
