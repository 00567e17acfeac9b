"""Times fobench's training step at a number of frozen units."""

import time
from statistics import median

import torch
from measuring import name_of
from random_runs import random_data, run_of
from rows import StepRow

from fobench.activations.frozen_prefix import FrozenPrefix
from fobench.freezing.frozen import FrozenUnits
from fobench.freezing.units import units_of
from fobench.machine.clock import Laps
from fobench.machine.device import autocast, synchronize
from fobench.machine.memory import peak_memory, reset_peak_memory
from fobench.models import ModelOptions
from fobench.training.state import Training
from fobench.training.step import Batch

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
EPOCHS = 1000  # of a step each: so many that a step is always captured


class Stepper:
    """A training whose steps are timed on one random batch. Units freeze, and never thaw."""

    def __init__(
        self,
        model: ModelOptions,
        device: torch.device,
        batch: int,
        precision: str = "float32",
        step: str = "auto",
        layout: str = "channels_last",
        fuse_batchnorm: bool = False,
    ) -> None:
        began = time.perf_counter()
        options = {"precision": precision, "step": step, "fuse_batchnorm": fuse_batchnorm}
        self.run = run_of(model, batch, batch, EPOCHS, **options)
        self.training = Training(self.run, random_data(self.run, device), device)
        synchronize(device)
        self._setup_seconds: float | None = time.perf_counter() - began
        # Parameters keep their identity, so the optimizer still holds them.
        self.training.network.to(memory_format=LAYOUTS[layout])
        self._device, self._layout, self._frozen = device, layout, 0
        self._units = list(self.training.network)
        self._frozen_units = FrozenUnits(units_of(self.training.network), self.training.optimizer)
        shape = batch, 3, *self.run.data_used.image_shape[:2]
        pixels = torch.randn(shape, device=device)
        self._pixels = pixels.contiguous(memory_format=LAYOUTS[layout])
        self._labels = torch.randint(self.run.data_used.classes, (batch,), device=device)

    @property
    def units(self) -> int:
        return len(self._units)

    def freeze(self, count: int) -> None:
        self._frozen_units.freeze(count)
        self._frozen = count

    def time(self, groups: int, group_steps: int, series: str, at_the_cut: bool = False) -> StepRow:
        """Time steps, from the pixels, or from the activations behind the frozen units."""
        training, device = self.training, self._device
        training.network.train()
        start = self._frozen if at_the_cut else 0
        batch = Batch(
            self._values(start),
            self._labels,
            FrozenPrefix(start, self._frozen),
            len(self._labels),
        )
        reset_peak_memory(device)
        first_seconds = self._seconds_of_a_step(batch)
        for _ in range(2):  # the first is captured, the second replayed
            training.take_step(0, batch)
        captures, capture_seconds = self._captures()
        laps = Laps(device)
        laps.mark()
        for _ in range(groups):
            for _ in range(group_steps):
                training.take_step(0, batch)
            laps.mark()
        means = [1000 * seconds / group_steps for seconds in laps.read()]
        is_new = training.graphs is None or captures > 0
        setup_seconds, self._setup_seconds = self._setup_seconds, None
        return StepRow(
            device=name_of(device),
            torch=torch.__version__,
            network=self.run.model.title(),
            units=self.units,
            frozen=self._frozen,
            start=start,
            batch=batch.images,
            precision=self.run.train.precision,
            layout=self._layout,
            mode="graph" if training.graphs else "eager",
            series=series,
            groups=groups,
            steps=groups * group_steps,
            milliseconds=median(means),
            low=min(means),
            high=max(means),
            setup_seconds=setup_seconds,
            first_seconds=first_seconds if is_new else None,
            capture_seconds=capture_seconds if captures else None,
            # Replays allocate nothing.
            peak_memory_bytes=peak_memory(device) if is_new else None,
        )

    @torch.no_grad()
    def _values(self, start: int) -> torch.Tensor:
        """The input of unit `start`, one of the frozen units or the first active one."""
        with autocast(self._device, self.run.train.precision):
            return FrozenPrefix(0, start).forward(self._units, self._pixels).clone()

    def _seconds_of_a_step(self, batch: Batch) -> float:
        synchronize(self._device)
        began = time.perf_counter()
        self.training.take_step(0, batch)
        synchronize(self._device)
        return time.perf_counter() - began

    def _captures(self) -> tuple[int, float]:
        """The captures since the last call, and their seconds."""
        graphs = self.training.graphs
        if graphs is None:
            return 0, 0.0
        graphs.end_epoch()
        return graphs.captures[-1], graphs.seconds[-1]
