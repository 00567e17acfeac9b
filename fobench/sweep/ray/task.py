"""What a worker of a cluster does: train a block as `fobench run` does on its machine."""

import logging
import math
import os
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RaySystemError

import fobench
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.interruption import (
    EXIT_TIME_LIMIT,
    SIGNALS,
    Deadline,
    Stopped,
    stopping_on_signals,
)
from fobench.machine.lock import lock_path, run_lock
from fobench.records import heartbeat
from fobench.records.files import exists
from fobench.sweep import here
from fobench.sweep.messages import JobDone, Mistake, Stop
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan
from fobench.sweep.ray.mailbox import Sent
from fobench.sweep.worker import LogToSweep, ProgressToSweep

log = logging.getLogger(__name__)

# A worker that was cut off from its cluster ends by itself, in about a minute.
WAIT_SECONDS = 180.0
POLL_SECONDS = 1.0
REPORT_SECONDS = 2.0  # rarer than to a process beside this one: a message takes longer


@dataclass(frozen=True)
class Block:
    """A block, numbered from 1, and how it is trained.

    `plan` is Ray's reference to it. The options have a deadline of the driver's machine; the task's
    is `ends`, by the clock.
    """

    number: int
    plan: Any
    seed: int
    options: SweepOptions
    ends: float
    threads: int
    folder: Path
    version: str


@dataclass(frozen=True)
class Began:
    """A worker begins the block, or goes on with it where the last one ended."""

    node: str


@dataclass(frozen=True)
class BlockDone:
    """All runs of the block have ended or were tried."""

    finished: bool


class Driver:
    """The process that started the tasks, as seen from one of them.

    It is not waited for: some messages are sent within the time of a run.
    """

    def __init__(self, mailbox: Any, block: int) -> None:
        self._mailbox, self._block = mailbox, block
        self._last: Any = None

    def send(self, message: object) -> None:
        self._last = self._mailbox.put.remote(Sent(self._block, message))

    def flush(self) -> None:
        """Wait until all has been received."""
        if self._last is not None:
            ray.get(self._last)


class ProgressToDriver(ProgressToSweep):
    """Sends the progress of one run after another, and when each has ended."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, REPORT_SECONDS)
        self._driver = driver

    @contextmanager
    def of(self, run: Run, epochs_done: int = 0) -> Iterator[None]:
        with super().of(run, epochs_done):
            try:
                yield
            except Exception:  # it failed or diverged
                self._driver.send(JobDone())
                raise
        self._driver.send(JobDone())


def train_block(block: Block, mailbox: Any) -> BlockDone | Stop | Mistake:
    """Train a block of a plan. Returns how that ended."""
    driver = Driver(mailbox, block.number)
    logging.basicConfig(format="%(message)s", handlers=[LogToSweep(driver)], force=True)
    logging.getLogger("fobench").setLevel(logging.INFO)
    logging.captureWarnings(True)
    # Ray has handlers of its own. That of SIGINT is what a driver that cancels the task calls.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        driver.send(Began(platform.node()))
        # All are sent to a process group at times, so none kills.
        with stopping_on_signals(repeated=SIGNALS):
            return train(block, driver)
    except Stopped as stopped:
        if stopped.exit_status not in (EXIT_TIME_LIMIT, 128 + signal.SIGINT):
            # The worker's node is shut down: Ray starts the task again where it can.
            driver.flush()
            os._exit(stopped.exit_status)
        return Stop(str(stopped), stopped.exit_status)
    except UserError as error:
        return Mistake(error.problems)
    finally:
        driver.flush()


def train(block: Block, driver: Driver) -> BlockDone | Stop:
    """Raises like `here.train`."""
    require_same_version(block)
    left = block.ends - time.time()
    if left <= 0:
        return Stop("the time limit", EXIT_TIME_LIMIT)
    deadline = Deadline(None if math.isinf(left) else left)
    if block.folder.is_dir():
        os.chdir(block.folder)
    # A worker that Ray started in advance was of no job.
    os.environ["RAY_JOB_ID"] = ray.get_runtime_context().get_job_id()
    plan = received(block.plan)
    require_shared(plan.folder)
    plan = plan.choose(lambda run: run.seed == block.seed)
    torch.set_num_threads(block.threads)
    keep_to_cards()
    wait_for_lost_workers([plan.folder_of(run) for run in plan.chosen], deadline)
    options = replace(block.options, deadline=deadline)
    done = BlockDone(here.train([plan], options, ProgressToDriver(driver)))
    driver.send(done)  # behind all that tell of its runs
    return done


def received(plan: Any) -> Plan:
    """The plan behind Ray's reference. Raises UserError if its data are not on this node, too."""
    try:
        # What Ray holds itself cannot be written to.
        return deepcopy(ray.get(plan))
    except RaySystemError as error:
        if isinstance(error.client_exc, UserError):
            raise error.client_exc from error
        raise


def require_same_version(block: Block) -> None:
    """Raises UserError if the driver has another version of fobench."""
    if fobench.__version__ != block.version:
        raise UserError(
            f"{platform.node()} has fobench {fobench.__version__}, and the sweep was started with "
            f"{block.version}: install the same version on all nodes of the cluster"
        )


def require_shared(folder: Path) -> None:
    """Raises UserError if this node does not see the folder of results, which the driver made."""
    if not exists(folder):
        raise UserError(
            f"{folder} is not there on {platform.node()}: give a --results folder that all nodes "
            "share, by the same path"
        )


def keep_to_cards() -> None:
    """Use Ray's cards alone, and let runs on others be timed at the same time."""
    if cards := ray.get_gpu_ids():
        os.environ["FOBENCH_LOCK"] = f"{lock_path()}-gpu{'-'.join(map(str, cards))}"
    else:  # not all versions of Ray hide them
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def wait_for_lost_workers(folders: Sequence[Path], deadline: Deadline) -> None:
    """Wait until no other process trains these runs, as one cut off from the cluster may still do.

    Raises Stopped if the deadline comes first.
    """
    end = time.monotonic() + WAIT_SECONDS
    for folder in folders:
        if not exists(folder / heartbeat.FILE) or is_free(folder):
            continue
        log.info("waiting for the worker that trained %s to end", folder.name)
        while not is_free(folder) and time.monotonic() < end:
            deadline.require_time()
            time.sleep(POLL_SECONDS)


def is_free(folder: Path) -> bool:
    with run_lock(folder) as free:
        return free
