"""A worker: a process that trains the runs that a sweep sends it, one after another.

    python -m fobench.sweep.worker DESCRIPTOR THREADS

It talks to its sweep through a socket, an inherited descriptor, and writes to no terminal.
"""

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import Protocol

import torch

from fobench.activations.places import share_room
from fobench.data.split import load
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.interruption import SIGNALS, Stopped, stopping_on_signals
from fobench.records.epochs import Epoch
from fobench.sweep.messages import (
    DeviceLost,
    EpochDone,
    Images,
    Job,
    JobDone,
    Mistake,
    Started,
    Stop,
    Trained,
)
from fobench.training.execute import ExecutionOptions, execute
from fobench.training.failure import DeviceLostError

REPORT_SECONDS = 0.2


class Sweep(Protocol):
    """Receives what is trained, wherever it is."""

    def send(self, message: object) -> None: ...


class SweepProcess:
    """The process that sends the runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def receive(self) -> ExecutionOptions | Images | Job | None:
        return self._connection.recv()

    def send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            # Without a sweep this process ends as if killed: no run may be recorded as failed.
            os._exit(1)


class LogToSweep(QueueHandler):
    """Sends the records of the log, with arguments and tracebacks as text."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.send(record)


class ProgressToSweep:
    """Sends the progress of a run, every `seconds`."""

    def __init__(self, sweep: Sweep, seconds: float = REPORT_SECONDS) -> None:
        self._sweep, self._seconds = sweep, seconds
        self._images = 0
        self._epoch = 1
        self._sent = 0.0

    @contextmanager
    def of(self, run: Run, epochs_done: int = 0) -> Iterator[None]:
        self._images, self._epoch = epochs_done * run.data_used.train_images, epochs_done + 1
        self._sweep.send(Started(run, self._images))
        yield

    def step(self, images: int, frozen: int) -> None:
        self._images += images
        now = time.monotonic()
        if now - self._sent > self._seconds:
            self._sent = now
            self._sweep.send(Trained(self._images, self._epoch, frozen))

    def epoch(self, row: Epoch) -> None:
        self._epoch = row.epoch + 1
        self._sweep.send(EpochDone(row))


def main() -> None:
    descriptor, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    # It stays open while the process lives.
    connection = Connection(descriptor)
    threading.Thread(target=end_with, args=(descriptor,), daemon=True).start()
    serve(SweepProcess(connection))


def end_with(descriptor: int) -> None:
    """End this process as soon as the other end of its socket is closed.

    The system closes it when the sweep's process ends, however that ends.
    """
    poll = select.poll()
    poll.register(descriptor, 0)  # nothing but hang-ups
    poll.poll()
    os._exit(1)


def serve(sweep: SweepProcess) -> None:
    """Train what the sweep sends, until it sends None or something stops this process."""
    logging.basicConfig(format="%(message)s", handlers=[LogToSweep(sweep)], force=True)
    logging.getLogger("fobench").setLevel(logging.INFO)
    logging.captureWarnings(True)
    # The sweep's word to stop, whatever was ignored when it was started. A group of processes may
    # get the same signal, so none kills.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with stopping_on_signals(repeated=SIGNALS):
            train_all(sweep)
    except Stopped as stopped:
        sweep.send(Stop(str(stopped), stopped.exit_status))
    except UserError as error:
        sweep.send(Mistake(error.problems))
    except DeviceLostError as error:
        sweep.send(DeviceLost(str(error)))


def train_all(sweep: SweepProcess) -> None:
    options, data, progress = sweep.receive(), None, ProgressToSweep(sweep)
    share_room(options.jobs)
    while (sent := sweep.receive()) is not None:
        if isinstance(sent, Images):
            data = None  # before the next images need its memory
            data = load(sent.dataset, sent.used, sent.augment, options.device, sent.place)
            continue
        # All runs of this process have one deadline, which learns how long epochs take.
        options.deadline.expect_epoch(0.0)
        run_options = replace(options, checkpoint_every=sent.checkpoint_every, profile=sent.profile)
        execute(sent.run, sent.folder, data, run_options, progress)
        sweep.send(JobDone())


if __name__ == "__main__":
    main()
