"""The tasks of a sweep, as the driver sees them: started, shown, stopped."""

import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RaySystemError

import fobench
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.interruption import EXIT_TIME_LIMIT, Stopped
from fobench.sweep.display import Display, log_again
from fobench.sweep.messages import EpochDone, JobDone, Mistake, Started, Stop, Trained
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan
from fobench.sweep.ray.hosts import places_of
from fobench.sweep.ray.mailbox import Sent, start_mailbox
from fobench.sweep.ray.task import Began, Block, BlockDone, train_block
from fobench.sweep.ray.wanted import task_options, threads_of
from fobench.sweep.time_left import Pace

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
TAKE_SECONDS = 0.2  # between looks into the mailbox
STOP_SECONDS = 60.0  # for a task to save and to leave
# Without an epoch between them: as happens where memory runs out, and for ever.
MAX_LOSSES = 5
# After the time limit, a task that was not heard for so long is waiting for a node.
QUIET_SECONDS = 300.0


@dataclass
class Work:
    """A block, numbered from 1, its runs to do, and what has become of them."""

    number: int
    plan: Plan
    seed: int
    due: list[Run]
    done: int = 0  # runs that have ended
    is_finished: bool = False
    is_given_up: bool = False
    node: str | None = None
    heard: float = -math.inf
    losses: int = 0  # of workers since its last epoch
    run: Run | None = None
    eval_seconds: float = 0.0
    task: Any = field(default=None, repr=False)

    @property
    def title(self) -> str:
        return f"{self.plan.experiment.name} seed {self.seed}"

    def count(self, run: Run, has_ended: bool) -> None:
        """Note that a run has started or ended: those before it have ended.

        They may have failed without a word, and are tried again if the worker is lost later.
        """
        if run in self.due:
            self.done = self.due.index(run) + has_ended


@dataclass(frozen=True)
class Ended:
    """The task of a block has ended."""

    block: int
    result: Future


class Tasks:
    """The tasks of all blocks; those that are left are stopped when the context is left.

    What they send, and how they end, comes in through a queue of Python's, filled by other threads:
    an exception that a signal raises within a call of Ray's could be lost.
    """

    def __init__(self, work: Sequence[Work], options: SweepOptions, display: Display) -> None:
        self._work = {each.number: each for each in work}
        self._left = set[int]()
        self._options, self._display, self._pace = options, display, Pace()
        self._ends = time.time() + options.deadline.seconds_left
        self._inbox = SimpleQueue[object]()
        self.out_of_time: Stopped | None = None

    def __enter__(self) -> Self:
        self._mailbox = start_mailbox()
        Thread(target=self._receive, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
        self._show_rest()

    def start(self) -> None:
        """Hand them all to Ray."""
        # Ray retries what was lost with its worker or node, no error. Each has a new process.
        options = task_options(self._options.resources)
        task = ray.remote(max_retries=-1, max_calls=1, **options)(train_block)
        plans = {each.plan.folder: each.plan for each in self._work.values()}
        kept = {
            folder: ray.put(replace(plan, folder=folder.absolute()))
            for folder, plan in plans.items()
        }
        blocks = [(each.plan, each.seed) for each in self._work.values()]
        # Untimed blocks go anywhere.
        places = places_of(blocks) if self._options.timed else ["DEFAULT"] * len(blocks)
        for work, place in zip(self._work.values(), places, strict=True):
            block = Block(
                work.number,
                kept[work.plan.folder],
                work.seed,
                replace(self._options, sharded=True),
                self._ends,
                threads_of(self._options.resources),
                Path.cwd(),
                fobench.__version__,
            )
            work.task = task.options(scheduling_strategy=place).remote(block, self._mailbox)
            self._left.add(work.number)
            self._tell_end(work)

    def watch(self) -> None:
        """Show what they do until all have ended.

        Raises UserError for a mistake that one has found, and Stopped if one was stopped.
        """
        while self._left:
            match self._next():
                case Sent(number, message):
                    self._show(self._work[number], message)
                case Ended(number, result):
                    self._left.discard(number)
                    self._end(self._work[number], result)
            if time.time() > self._ends:
                self._give_up_those_that_wait()

    def _tell_end(self, work: Work) -> None:
        def tell(result: Future) -> None:
            self._inbox.put(Ended(work.number, result))

        work.task.future().add_done_callback(tell)

    def _receive(self) -> None:
        """In a thread: take what comes, up to a None or the end of the cluster."""
        try:
            while True:
                for message in ray.get(self._mailbox.take.remote()):
                    self._inbox.put(message)
                    if message is None:
                        return
                time.sleep(TAKE_SECONDS)
        except Exception as error:
            self._inbox.put(error)

    def _next(self) -> object | None:
        """What has come; None if nothing has for a while. Raises if nothing can come any more."""
        try:
            found = self._inbox.get(timeout=POLL_SECONDS)
        except Empty:
            return None
        if isinstance(found, Exception):
            raise UserError(f"the connection to the Ray cluster is lost ({found})") from found
        return found

    def _show(self, work: Work, message: object) -> None:
        work.heard = time.monotonic()
        match message:
            case logging.LogRecord():
                log_again(message, str(work.number))
            case Began(node):
                self._begin(work, node)
            case Started(run, images):
                work.run, work.eval_seconds = run, 0.0
                work.count(run, has_ended=False)
                self._display.start(work.number, run, images)
            case Trained():
                self._display.step(work.number, work.run, message)
            case EpochDone(row):
                work.losses = 0
                work.eval_seconds += row.eval_seconds
                if row.step == work.run.total_steps:
                    self._pace.add(work.run, row.total_train_seconds + work.eval_seconds)
                self._display.epoch(work.number, work.run, row)
            case JobDone():
                work.count(work.run, has_ended=True)
                self._show_whole()
            case BlockDone() if work.done < len(work.due):
                work.done = len(work.due)
                self._show_whole()

    def _show_whole(self) -> None:
        done = sum(each.done for each in self._work.values())
        runs = sum(len(each.due) for each in self._work.values())
        self._display.whole(done, runs, self._seconds_left())

    def _begin(self, work: Work, node: str) -> None:
        if work.node is None:
            log.info("%d: %s on %s", work.number, work.title, node)
        else:
            work.losses += 1
            log.warning(
                "%d: its worker on %s was lost; %s goes on on %s, from the last checkpoint",
                *(work.number, work.node, work.title, node),
            )
        work.node = node
        if work.losses >= MAX_LOSSES:
            log.error(
                "%d: %s is given up: its worker was lost %d times without an epoch in between, as "
                "where memory runs out",
                *(work.number, work.title, work.losses),
            )
            self._give_up(work)

    def _give_up(self, work: Work) -> None:
        work.is_given_up = True
        ray.cancel(work.task, force=True)

    def _give_up_those_that_wait(self) -> None:
        """Let blocks without a node not wait on after the time limit."""
        for work in (self._work[number] for number in self._left):
            if not work.is_given_up and time.monotonic() - work.heard > QUIET_SECONDS:
                self.out_of_time = Stopped("the time limit", EXIT_TIME_LIMIT)
                self._give_up(work)

    def _end(self, work: Work, result: Future) -> None:
        """Raises what ends the sweep."""
        if work.is_given_up:
            return
        match value_of(result):
            case BlockDone(is_finished):
                work.is_finished = is_finished
            case Stop(reason, exit_status):
                stopped = Stopped(reason, exit_status)
                if exit_status != EXIT_TIME_LIMIT:
                    raise stopped
                self.out_of_time = stopped
            case Mistake(problems):
                raise UserError(problems)

    def _seconds_left(self) -> float | None:
        """Of all runs that have not ended, at the pace of those that have."""
        left = [run for each in self._work.values() for run in each.due[each.done :]]
        seconds = self._pace.seconds_for(left)
        at_work = sum(self._work[number].node is not None for number in self._left)
        return None if seconds is None else seconds / max(1, at_work)

    def _stop(self) -> None:
        """Stop those that are left, and show what each has saved."""
        for number in self._left:
            ray.cancel(self._work[number].task)
        end = time.monotonic() + STOP_SECONDS
        while self._left and time.monotonic() < end:
            match self._next():
                case Sent(number, message):
                    self._show(self._work[number], message)
                case Ended(number):
                    self._left.discard(number)

    def _show_rest(self) -> None:
        """Show what the tasks had sent when they ended."""
        self._mailbox.put.remote(None)
        while (found := self._next()) is not None:
            if isinstance(found, Sent):
                self._show(self._work[found.block], found.message)


def value_of(result: Future) -> object:
    """Raises UserError if the task was sent to a node that cannot read it."""
    try:
        return result.result()
    except RaySystemError as error:
        reason = str(getattr(error, "cause", error)).partition("\n")[0]
        message = "a node cannot read its task ({}): install the same fobench on all nodes"
        raise UserError(message.format(reason)) from error
