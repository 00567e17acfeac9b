"""Train several runs at once on this machine, each in a process of its own: a worker.

This process hands out the runs in their order, shows what the workers report, and stops them. A
worker that dies loses its run alone; if this process dies, the workers end by themselves.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import BinaryIO

import torch

from fobench.errors import UserError
from fobench.machine.interruption import EXIT_TIME_LIMIT, Stopped
from fobench.records.runs import ENDED
from fobench.sweep.display import Display, display_for, log_again
from fobench.sweep.messages import (
    DeviceLost,
    EpochDone,
    Job,
    JobDone,
    Mistake,
    Started,
    Stop,
    Trained,
)
from fobench.sweep.tasks import Sweep, Task, lost_device, message_of_images
from fobench.training.execute import ExecutionOptions
from fobench.training.progress import total_images

log = logging.getLogger(__name__)

LAST_LINES = 20  # of what a worker wrote before it died


def train_at_once(sweep: Sweep, jobs: int) -> list[Task]:
    """Train the tasks of a sweep, up to `jobs` at once, each with torch's number of threads.

    Returns those whose worker died before they had ended.

    Raises Stopped for a signal, and for the time limit once no worker has time left; UserError if
    a file cannot be written or a device stops working.
    """
    workers = min(jobs, len(sweep.tasks))
    with display_for(workers, len(sweep.tasks)) as display:
        crew = Crew(sweep, display)
        try:
            for number in range(1, workers + 1):
                crew.add(number)
            crew.train()
        except BaseException:
            crew.stop()
            raise
    if crew.out_of_time is not None:
        raise crew.out_of_time
    return crew.lost


class Worker:
    """A process that trains one run after another, and its current task."""

    def __init__(self, number: int, options: ExecutionOptions) -> None:
        """Raises UserError if the process cannot be started."""
        self.number = number
        self.task: Task | None = None
        self.has_begun = False  # whether its run's earlier record is replaced
        self.share_done = 0.0  # of its run's images
        self.is_leaving = False
        self._options, self._images = options, ""
        try:
            self.connection, its = Pipe()
            self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by `reap`
            with its:
                self.process = start_process(its.fileno(), torch.get_num_threads(), self._output)
        except OSError as error:
            raise UserError(
                f"a process for --jobs cannot be started ({error.strerror}): give fewer jobs"
            ) from error

    def give(self, task: Task) -> None:
        """Have it train a run. Raises OSError if it is dead."""
        self.task, self.has_begun, self.share_done = task, False, 0.0
        experiment = task.plan.experiment
        if not self._images:
            self.connection.send(self._options)
        if self._images != experiment.name:
            self.connection.send(message_of_images(task))
            self._images = experiment.name
        self.connection.send(Job(task.run, task.folder, task.checkpoint_every, task.profile))

    def dismiss(self) -> None:
        """Let it end. Raises OSError if it is dead."""
        self.task, self.is_leaving = None, True
        self.connection.send(None)

    def receive(self) -> object | None:
        """Its next message; None if it has ended."""
        try:
            return self.connection.recv()
        except Exception:  # it died, perhaps within a message
            return None

    def reap(self) -> str:
        """Wait for its end. Returns how it ended, and the last lines that it wrote."""
        self.connection.close()
        status = self.process.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        self._output.close()
        ended = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        if status == -signal.SIGKILL:
            ended += ", which is sent when memory runs out: fewer --jobs need less"
        return "\n".join([ended, *lines[-LAST_LINES:]])


def start_process(descriptor: int, threads: int, output: BinaryIO) -> subprocess.Popen:
    """Start a worker that talks through an open descriptor.

    It has a session of its own, as a terminal sends its Ctrl-C to all processes of a session, and
    its number of threads from its start, as libraries read it when they are loaded.
    """
    modules = os.pathsep.join(path or "." for path in sys.path)
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", "fobench.sweep.worker"]
    return subprocess.Popen(
        [*command, str(descriptor), str(threads)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": modules},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[descriptor],
        start_new_session=True,
    )


class Crew:
    """The workers of a sweep, and the tasks that none has got yet."""

    def __init__(self, sweep: Sweep, display: Display) -> None:
        self._sweep, self._display = sweep, display
        self._waiting = deque(sweep.tasks)
        self._workers: dict[Connection, Worker] = {}
        self._done = 0
        self.lost = list[Task]()
        self.out_of_time: Stopped | None = None

    def add(self, number: int) -> None:
        """Start a worker, and give it a task."""
        worker = Worker(number, self._sweep.options)
        self._workers[worker.connection] = worker
        self._hand_on(worker)

    def train(self) -> None:
        """Until no worker is left."""
        while self._workers:
            for connection in wait(list(self._workers)):
                worker = self._workers[connection]
                message = worker.receive()
                if message is None:
                    self._bury(worker)
                else:
                    self._handle(worker, message)

    def stop(self) -> None:
        """Stop all workers, and log what each has saved."""
        for worker in self._workers.values():
            worker.process.terminate()
        while self._workers:
            for connection in wait(list(self._workers)):
                worker = self._workers[connection]
                message = worker.receive()
                if message is None:
                    del self._workers[connection]
                    worker.reap()
                elif isinstance(message, logging.LogRecord):
                    show(message, worker)

    def _hand_on(self, worker: Worker) -> None:
        try:
            if self._waiting:
                task = self._waiting.popleft()
                log.info("%d: %s", worker.number, task.title)
                worker.give(task)
            else:
                worker.dismiss()
        except OSError:
            pass  # it has died, as its next message will say

    def _handle(self, worker: Worker, message: object) -> None:
        task = worker.task
        match message:
            case logging.LogRecord():
                show(message, worker)
            case Started(_, images):
                worker.has_begun = True
                worker.share_done = images / total_images(task.run)
                self._display.start(worker.number, task.run, images)
            case Trained(images):
                worker.share_done = images / total_images(task.run)
                self._display.step(worker.number, task.run, message)
            case EpochDone(row):
                self._display.epoch(worker.number, task.run, row)
            case JobDone():
                self._finish(worker)
                self._hand_on(worker)
            case Stop(reason, exit_status):
                stopped = Stopped(reason, exit_status)
                if exit_status != EXIT_TIME_LIMIT:
                    raise stopped
                self.out_of_time, worker.is_leaving = stopped, True
            case Mistake(problems):
                raise UserError(problems)
            case DeviceLost(reason):
                forced = self._sweep.options.restart
                raise UserError(lost_device(task, reason, len(self._waiting), forced))

    def _finish(self, worker: Worker) -> None:
        """Count the run of a worker as done."""
        self._sweep.record_pace(worker.task.run, worker.task.folder)
        worker.task, self._done = None, self._done + 1
        self._display.whole(self._done, len(self._sweep.tasks), self._seconds_left())

    def _bury(self, worker: Worker) -> None:
        """Say what became of the run of a dead worker, and start another for the rest."""
        del self._workers[worker.connection]
        task, ended = worker.task, worker.reap()
        if worker.is_leaving:
            return
        # With --force, a record that is there before the run begins is that of an earlier training.
        is_its_record = worker.has_begun or not self._sweep.options.restart
        has_ended = is_its_record and task.plan.status_of(task.run) in ENDED
        lost = "had ended" if has_ended else "stays unfinished and can be resumed"
        log.error("worker %d died: %s %s (%s)", worker.number, task.run.id, lost, ended)
        if has_ended:
            self._finish(worker)
        else:
            self.lost.append(task)
        if self._waiting and self.out_of_time is None:
            self.add(worker.number)

    def _seconds_left(self) -> float | None:
        """The seconds of all that is left, at the pace of the runs so far."""
        left = [(task.run, 1.0) for task in self._waiting]
        at_work = [each for each in self._workers.values() if each.task is not None]
        left += [(each.task.run, 1 - each.share_done) for each in at_work]
        seconds = [self._sweep.pace.seconds_for([run]) for run, _ in left]
        if None in seconds:
            return None
        work = sum(each * share for each, (_, share) in zip(seconds, left, strict=True))
        return work / max(1, min(len(left), len(self._workers)))


def show(record: logging.LogRecord, worker: Worker) -> None:
    """Log a message of a worker, with its number and run."""
    names_run = worker.task is None or worker.task.run.id in record.msg
    log_again(record, f"{worker.number}" if names_run else f"{worker.number}: {worker.task.run.id}")
