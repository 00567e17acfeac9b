"""Starts `fobench` again and again without importing torch each time: forks, waits, kills.

    python -m tests.faults.forks

Reads a line of JSON {"words": [...], "kill_after": seconds or null, "signal": number, "worker":
whether a worker of `--jobs` gets it, "log": path} and answers with a line: {"exit": status,
negative for a signal's number, "sent": whether the signal was sent, "seconds": how long, "left":
the workers that outlive it by seconds}.
The child is a process of its own that runs the real command line; its workers are forks, too.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pandas  # noqa: F401  imported once, for all children
import psutil
import scipy.stats  # noqa: F401
import torch  # noqa: F401
from torch.utils import flop_counter  # noqa: F401

import fobench.sweep.loop
import fobench.training.execute  # noqa: F401
from fobench import cli
from fobench.activations import places
from fobench.costs.unit_costs import costs_of_network
from fobench.machine.interruption import SIGNALS
from fobench.models import FAMILIES
from fobench.sweep import jobs, worker

OUTLIVE_SECONDS = 5.0


def leave_after(what: Callable[[], object]) -> None:
    """Do something and end this process, with the exit status that Python would give."""
    status = 1
    try:
        what()
        status = 0
    except SystemExit as left:
        status = left.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def run_as_command(words: list[str], log: str) -> None:
    """Be `fobench` with these words; does not return."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # The parent process may have had SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    leave_after(lambda: cli.main(words))


class Fork:
    """A child process, as far as `subprocess.Popen` is needed of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


def fork_worker(descriptor: int, threads: int, output: BinaryIO) -> Fork:
    """A worker in a session of its own, without its parent's open files and signal handlers."""
    child = os.fork()
    if child:
        return Fork(child)
    os.setsid()
    for each in (1, 2):
        os.dup2(output.fileno(), each)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    sys.argv[1:] = [str(descriptor), str(threads)]
    leave_after(worker.main)
    raise AssertionError("it has left")


def fork(
    words: list[str], kill_after: float | None, number: int, log: str, at_worker: bool
) -> dict[str, float]:
    began, sent = time.monotonic(), False
    child, workers = os.fork(), []
    if child == 0:
        run_as_command(words, log)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG if kill_after is not None else 0)
        seconds = time.monotonic() - began
        if ended:
            return {
                "exit": os.waitstatus_to_exitcode(status),
                "sent": sent,
                "seconds": seconds,
                "left": sum(outlives(each) for each in workers),
            }
        if kill_after is not None and seconds >= kill_after:
            workers = psutil.Process(child).children()
            if at_worker and not workers:
                time.sleep(0.001)
                continue
            victim = random.choice(workers).pid if at_worker else child
            os.kill(victim, number)
            kill_after, sent = None, True
        else:
            time.sleep(0.001)


def outlives(process: psutil.Process) -> bool:
    """Whether a process is still there after some seconds."""
    end = time.monotonic() + OUTLIVE_SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return True
        time.sleep(0.01)
    return False


def import_all() -> None:
    """Let torch import what it imports when shapes are first computed. Starts no thread."""
    costs_of_network(FAMILIES["wideresnet"](depth=10, width=1), 10, (32, 32, 3))


def make_room() -> None:
    """Give stores room, however full this machine is."""
    places.room_in_memory = lambda device: 10**9
    places.room_on_disk = lambda: 10**9


def main() -> None:
    import_all()
    make_room()
    jobs.start_process = fork_worker
    random.seed(0)
    for line in sys.stdin:
        asked = json.loads(line)
        Path(asked["log"]).parent.mkdir(parents=True, exist_ok=True)
        keys = ("words", "kill_after", "signal", "log", "worker")
        answer = fork(*(asked[key] for key in keys))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
