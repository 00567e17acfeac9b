"""Heartbeats of a run: a small file in its folder that says now and then that it is trained.

A step costs a look at the clock, and one in 20 s a small file that is not flushed to disk.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine import process
from fobench.records.epochs import Epoch
from fobench.records.heartbeat import Heartbeat, remove_heartbeat, write_heartbeat
from fobench.training.progress import RunProgress, total_images

log = logging.getLogger(__name__)

SECONDS = 20.0


class ProgressWithHeartbeats:
    """Passes the progress of a run on, and writes heartbeats between steps."""

    def __init__(self, run: Run, folder: Path, progress: RunProgress) -> None:
        self._run, self._folder, self._progress = run, folder, progress
        self._sender, self._of_images = process.describe(), total_images(run)
        self._is_writable = True
        self._start(0)

    def of(self, run: Run, epochs_done: int = 0) -> AbstractContextManager[None]:
        self._start(epochs_done)
        self.beat()
        return self._progress.of(run, epochs_done)

    def step(self, images: int, frozen: int) -> None:
        self._images += images
        if time.monotonic() >= self._due:
            self.beat()
        self._progress.step(images, frozen)

    def epoch(self, row: Epoch) -> None:
        self._epoch = min(row.epoch + 1, self._run.epochs)
        self._progress.epoch(row)

    def _start(self, epochs_done: int) -> None:
        self._epoch = min(epochs_done + 1, self._run.epochs)
        self._images = self._images_before = epochs_done * self._run.data_used.train_images
        self._started = self._due = time.monotonic()

    def beat(self) -> None:
        """Write one. If that fails, training goes on without."""
        now = time.monotonic()
        self._due = now + SECONDS
        if not self._is_writable:
            return
        images, seconds = self._images - self._images_before, now - self._started
        beat = Heartbeat(
            **self._sender,
            when=datetime.now(UTC),
            epoch=self._epoch,
            images=self._images,
            of_images=self._of_images,
            images_per_second=images / seconds if images else None,
        )
        try:
            write_heartbeat(self._folder, beat)
        except UserError as error:
            self._is_writable = False
            log.warning("`fobench status` will not see that %s is trained: %s", self._run.id, error)


@contextmanager
def heartbeats(run: Run, folder: Path, progress: RunProgress) -> Iterator[RunProgress]:
    """In the block, a run's folder holds a heartbeat. Yields the progress that renews it."""
    with_heartbeats = ProgressWithHeartbeats(run, folder, progress)
    with_heartbeats.beat()
    try:
        yield with_heartbeats
    finally:
        try:
            remove_heartbeat(folder)
        except UserError as error:
            log.warning("%s", error)
