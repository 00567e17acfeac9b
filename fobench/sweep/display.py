"""The progress of runs that are trained at once: bars on a terminal, else lines."""

import logging
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Protocol

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from fobench.experiment.run import Run
from fobench.records.epochs import Epoch
from fobench.sweep.messages import Trained
from fobench.sweep.time_left import format_duration
from fobench.training.progress import epoch_line, total_images

log = logging.getLogger(__name__)


class Display(Protocol):
    """Shows the progress of each worker's run, and of all runs. Workers are numbered from 1."""

    def start(self, worker: int, run: Run, images: int) -> None:
        """The run is trained, from this image on."""

    def step(self, worker: int, run: Run, trained: Trained) -> None: ...
    def epoch(self, worker: int, run: Run, row: Epoch) -> None: ...

    def whole(self, done: int, of: int, seconds: float | None) -> None:
        """A run has ended; `seconds` are left for all, if that is known."""


def display_for(workers: int, runs: int) -> AbstractContextManager[Display]:
    """Bars if this process has a terminal, else lines."""
    if sys.stderr is not None and sys.stderr.isatty():
        return Bars(workers, runs)
    return nullcontext(Lines())


def log_again(record: logging.LogRecord, prefix: str) -> None:
    """Log here what another process logged, with a prefix that says whose it is."""
    record.msg = f"{prefix}: {record.msg}"
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def progress_text(done: int, of: int, seconds: float | None) -> str:
    left = "" if seconds is None or done == of else f", about {format_duration(seconds)} left"
    return f"{done} of {of} runs done{left}"


class Lines:
    """A line an epoch and a line a run, in the log."""

    def start(self, worker: int, run: Run, images: int) -> None: ...
    def step(self, worker: int, run: Run, trained: Trained) -> None: ...

    def epoch(self, worker: int, run: Run, row: Epoch) -> None:
        log.info("%d: %s: %s", worker, run.id, epoch_line(run, row))

    def whole(self, done: int, of: int, seconds: float | None) -> None:
        log.info("%s", progress_text(done, of, seconds))


class Bars(ExitStack):
    """A bar a worker and a line for the whole below them; the log goes above."""

    def __init__(self, workers: int, runs: int) -> None:
        super().__init__()
        self._bars = [
            self.enter_context(tqdm(unit="img", position=each, desc=f"{each + 1}", leave=False))
            for each in range(workers)
        ]
        self._losses = [""] * workers
        self._whole = self.enter_context(tqdm(bar_format="{desc}", position=workers))
        self._whole.set_description_str(progress_text(0, runs, None))
        self.enter_context(logging_redirect_tqdm())

    def start(self, worker: int, run: Run, images: int) -> None:
        bar = self._bars[worker - 1]
        self._losses[worker - 1] = ""
        bar.reset(total=total_images(run))
        # Those before a run was resumed say nothing about its speed.
        bar.initial = bar.n = bar.last_print_n = images
        bar.set_postfix_str("", refresh=False)
        self._describe(worker, run, images // run.data_used.train_images + 1)
        bar.refresh()

    def step(self, worker: int, run: Run, trained: Trained) -> None:
        bar = self._bars[worker - 1]
        self._describe(worker, run, trained.epoch)
        bar.set_postfix_str(f"{trained.frozen} frozen{self._losses[worker - 1]}", refresh=False)
        bar.update(trained.images - bar.n)

    def epoch(self, worker: int, run: Run, row: Epoch) -> None:
        self._losses[worker - 1] = f", loss {row.train_loss:.3f}"
        images = min(row.epoch * run.data_used.train_images, total_images(run))
        self.step(worker, run, Trained(images, row.epoch + 1, row.frozen_units))
        self._bars[worker - 1].refresh()

    def whole(self, done: int, of: int, seconds: float | None) -> None:
        self._whole.set_description_str(progress_text(done, of, seconds))

    def _describe(self, worker: int, run: Run, epoch: int) -> None:
        text = f"{worker}: epoch {min(epoch, run.epochs)}/{run.epochs}"
        self._bars[worker - 1].set_description(text, refresh=False)
