"""Progress of a run: a bar on a terminal, else one line per epoch."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tqdm import tqdm

from fobench.experiment.run import Run
from fobench.records.epochs import Epoch

log = logging.getLogger(__name__)

# No tqdm monitor thread during timed training.
tqdm.monitor_interval = 0


class RunProgress(Protocol):
    """Receives the progress of one run after another."""

    def of(self, run: Run, epochs_done: int = 0) -> AbstractContextManager[None]: ...
    def step(self, images: int, frozen: int) -> None: ...
    def epoch(self, row: Epoch) -> None: ...


class Progress:
    """Shows epoch, last epoch's loss, frozen units, images/s and time left of the current run."""

    def __init__(self) -> None:
        # None in a process without a standard error.
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._run: Run | None = None
        self._frozen = -1
        self._loss = ""

    @contextmanager
    def of(self, run: Run, epochs_done: int = 0) -> Iterator[None]:
        """Show this run until the block ends."""
        self._run, self._frozen, self._loss = run, -1, ""
        self._bar = tqdm(
            total=total_images(run),
            initial=epochs_done * run.data_used.train_images,
            unit="img",
            desc=f"epoch {epochs_done + 1}/{run.epochs}",
            disable=not self._on_terminal,
        )
        try:
            yield
        finally:
            self._bar.close()

    def step(self, images: int, frozen: int) -> None:
        """Report a training step. Takes microseconds: it is inside the timed block."""
        if self._on_terminal:
            if frozen != self._frozen:
                self._frozen = frozen
                self._show()
            self._bar.update(images)

    def epoch(self, row: Epoch) -> None:
        """Report an epoch."""
        run = self._run
        if self._on_terminal:
            self._loss = f", loss {row.train_loss:.3f}"
            self._bar.set_description(
                f"epoch {min(row.epoch + 1, run.epochs)}/{run.epochs}", refresh=False
            )
            self._show()
            return
        log.info(epoch_line(run, row))

    def _show(self) -> None:
        self._bar.set_postfix_str(f"{max(self._frozen, 0)} frozen{self._loss}", refresh=False)


def total_images(run: Run) -> int:
    """The images that a run trains on, each as often as it does."""
    full_epochs, steps = divmod(run.total_steps, run.steps_per_epoch)
    images = run.data_used.train_images
    return full_epochs * images + min(steps * run.train.batch_size, images)


def epoch_line(run: Run, row: Epoch) -> str:
    """An epoch of a run as a line of text."""
    left = row.total_train_seconds * (run.total_steps / row.step - 1)
    errors = {"train": row.train_error, "val": row.val_error, "test": row.test_error}
    shown = ", ".join(
        f"{name} {error:.1f} %" for name, error in errors.items() if error is not None
    )
    return (
        f"epoch {row.epoch}/{run.epochs}: loss {row.train_loss:.3f}, error {shown}, "
        f"{row.frozen_units} frozen, {row.images_per_second:.0f} images/s, "
        f"at most {left:.0f} s left"
    )
