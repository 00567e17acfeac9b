"""Measures the profile: seconds of a training step at every number of frozen units.

Through the loop's own step, on the run's own images, in rounds over all numbers of frozen units, so
that a machine that gets slower or faster does so for all alike.
"""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from statistics import fmean, median

import torch
from torch.optim import SGD

from fobench.costs.forward_time import forward_seconds
from fobench.costs.profile import Profile, Spread
from fobench.data.order import Indices
from fobench.data.split import Data, Split
from fobench.experiment.run import Run
from fobench.freezing.frozen import FrozenUnits
from fobench.freezing.units import units_of
from fobench.machine.clock import Laps, timed
from fobench.machine.device import autocast
from fobench.machine.memory import peak_memory, release_memory, reset_peak_memory
from fobench.training.loop import evaluate, start_epoch, train_step
from fobench.training.peak_memory import log_least_memory
from fobench.training.state import Training
from fobench.training.step import EagerStep, GraphStep, Step, StepsUntilFreeze
from fobench.training.warmup import evaluation_batch_size

log = logging.getLogger(__name__)

# Of all rounds; forward passes alone and the evaluation take a few seconds more.
SECONDS = 35.0
SHARE_OF_TRAINING = 0.05
MIN_ROUNDS, AIMED_ROUNDS, MAX_ROUNDS = 2, 8, 15
# Steps in a row with as many units frozen, after one that is not timed: for about so long.
VISIT_SECONDS, MAX_STEPS = 0.2, 20
FORWARD_SHARE = 0.25
# So small that the values of activations stay as they were, also where AdamW changes every weight
# by about as much in each step, and so many that no rate gets to 0.
RATE, EPOCHS = 1e-8, 1_000_000


def measure_profile(run: Run, data: Data, for_steps: int | None = None) -> Profile:
    """The profile of the run's network, in less than a minute.

    Shorter if it is needed for a training of `for_steps` steps, of whose time it takes a twentieth
    at most, but two rounds at least. Nothing else may use the machine meanwhile.
    """
    device = data.train.labels.device
    log.info("measuring a step of %s by the number of frozen units", run.model.title())
    log_least_memory(run, device)
    with timed(device) as measuring:
        stepper = Stepper(run, data)
        [first] = stepper.visit(0, 1)
        peak = peak_memory(device)
        allowed = SECONDS if for_steps is None else SHARE_OF_TRAINING * for_steps * first
        seconds = min(SECONDS, allowed)
        rounds = measure_rounds(stepper, first, seconds)
        step_seconds = [median(visits) for visits in rounds]
        short_step = stepper.short_step_seconds() / step_seconds[0]
        pixels, forward = stepper.forward_seconds(FORWARD_SHARE * seconds)
        evaluation = stepper.evaluation_seconds()
    nothing_frozen = rounds[0]
    profile = Profile(
        steps=tuple(Spread.of(visits) for visits in rounds),
        drift=tuple(median(nothing_frozen[place::3]) for place in range(3)),
        short_step=short_step,
        first_steps=tuple(stepper.first_steps),
        captures=tuple(
            lap - usual for lap, usual in zip(stepper.capturing_steps, step_seconds, strict=False)
        ),
        pixels=pixels,
        forward=forward,
        evaluation=evaluation,
        peak_memory_bytes=peak,
        rounds=len(nothing_frozen) // 3,
        seconds=measuring.seconds,
    )
    del stepper
    release_memory(device)
    return profile


def measure_rounds(stepper: "Stepper", step_seconds: float, seconds: float) -> list[list[float]]:
    """Mean seconds of a step in each visit, by the number of frozen units.

    `step_seconds` are about those of a step with nothing frozen.
    """
    visits = len(stepper) + 2
    visit_seconds = min(VISIT_SECONDS, seconds / (AIMED_ROUNDS * visits))
    steps = max(1, min(MAX_STEPS, math.ceil(visit_seconds / step_seconds)))
    found: list[list[float]] = [[] for _ in range(len(stepper))]
    began = time.perf_counter()
    for done in range(1, MAX_ROUNDS + 1):
        for frozen in round_trip(len(stepper), reverse=done % 2 == 0):
            found[frozen].append(fmean(stepper.visit(frozen, steps)))
        took = time.perf_counter() - began
        if done >= MIN_ROUNDS and took * (done + 1) / done > seconds:
            break
    return found


def round_trip(units: int, reverse: bool) -> list[int]:
    """The numbers of frozen units in a round: 0 at its start, in its middle and at its end."""
    others = list(range(1, units))[:: -1 if reverse else 1]
    half = len(others) // 2
    return [0, *others[:half], 0, *others[half:], 0]


class Stepper:
    """Takes training steps with any number of units frozen; they thaw again.

    Attributes:
        first_steps, capturing_steps: where steps are captured as CUDA graphs, by frozen units, the
            seconds of the first step, which is not, and of the second, which is.
    """

    def __init__(self, run: Run, data: Data) -> None:
        options = run.train.replace(lr=RATE, epochs=EPOCHS)
        baseline = replace(run.baseline_run, train=options)
        self.training = Training(baseline, data, data.train.labels.device)
        reset_peak_memory(self.training.device)
        network = self.training.network
        # An optimizer that takes no step: moments are not freed, as captured steps refer to them.
        self._frozen_units = FrozenUnits(units_of(network), SGD(network.parameters(), lr=RATE))
        self._steps = self._one_step_each()
        self._batches = self._full_batches()
        self._laps = Laps(self.training.device)
        self._taken = count()
        self.first_steps, self.capturing_steps = list[float](), list[float]()
        if self.training.graphs:
            self._capture_all()

    def __len__(self) -> int:
        """The number of units, of which all but the head can be frozen."""
        return len(self.training.network)

    def visit(self, frozen: int, steps: int) -> list[float]:
        """Seconds of `steps` steps in a row with the first `frozen` units frozen."""
        return self._laps_of(frozen, [next(self._batches) for _ in range(steps + 1)])[1:]

    def short_step_seconds(self) -> float:
        """Seconds of a step in the short last batch of an epoch, or in a full one without."""
        split, size = self.training.data.train, self.training.run.train.batch_size
        length = len(split) % size or min(size, len(split))
        batch = Indices.of(torch.arange(length), self.training.device)
        return median(self._laps_of(0, [batch] * 6)[2:])

    def forward_seconds(self, seconds: float) -> tuple[float, tuple[float, ...]]:
        """Seconds per image to read it, and of each unit without gradients, measured that long."""
        run, split = self.training.run, self.training.data.train
        self._frozen_units.release()
        network, size = self.training.network.eval(), min(run.train.batch_size, len(split))
        with autocast(self.training.device, run.train.precision):
            return forward_seconds(network, split, size, self.training.graphs, seconds)

    def evaluation_seconds(self) -> float:
        """Seconds per image of the evaluation."""
        training, batches = self.training, 4
        size = evaluation_batch_size(training.run, training.device)
        test = first_images(training.data.test, batches * size)
        for _ in range(2):  # the first is to warm up
            with timed(training.device) as evaluation:
                evaluate(training.network, test, size, training.run.train.precision)
        return evaluation.seconds / len(test)

    def _laps_of(self, frozen: int, batches: list[Indices]) -> list[float]:
        self._frozen_units.release()
        self._frozen_units.freeze(frozen)
        training, take_step = self.training, self._steps[frozen]
        self._laps.mark()
        for indices in batches:
            training.scheduler.step()
            train_step(training, next(self._taken), indices, frozen, take_step)
            self._laps.mark()
        return self._laps.read()

    def _one_step_each(self) -> list[Step]:
        """The step for each number of frozen units: a graph is forgotten once more are frozen."""
        training = self.training
        eager = EagerStep(training.network, training.optimizer, training.run.train)
        if training.graphs is None:
            return [eager] * len(self)
        run = training.run
        endless = StepsUntilFreeze((), run.total_steps, run.steps_per_epoch, run.train.batch_size)
        return [GraphStep(eager, training.graphs, endless) for _ in range(len(self))]

    def _capture_all(self) -> None:
        for frozen in range(len(self)):
            first, second = self._laps_of(frozen, [next(self._batches) for _ in range(2)])
            self.first_steps.append(first)
            self.capturing_steps.append(second)

    def _full_batches(self) -> Iterator[Indices]:
        size = min(self.training.run.train.batch_size, len(self.training.data.train))
        for epoch in count():
            batches = [each for each in start_epoch(self.training, epoch) if len(each) == size]
            with self.training.data.train.ahead(batches):
                yield from batches


def first_images(split: Split, count: int) -> Split:
    return replace(split, images=split.images[:count], labels=split.labels[:count])
