"""Starts `fobench` again and again without importing torch each time: forks, waits, kills.

    python -m tests.faults.forks

Reads a line of JSON {"words": [...], "kill_after": seconds or null, "signal": number, "log": path}
and answers with a line: {"exit": status, negative for a signal's number, "sent": whether the signal
was sent, "seconds": how long}.
The child is a process of its own that runs the real command line.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import pandas  # noqa: F401  imported once, for all children
import scipy.stats  # noqa: F401
import torch  # noqa: F401
from torch.utils import flop_counter  # noqa: F401

import fobench.sweep.loop
import fobench.training.execute  # noqa: F401
from fobench import cli
from fobench.activations import places
from fobench.costs.unit_costs import costs_of_network
from fobench.models import FAMILIES


def run_as_command(words: list[str], log: str) -> None:
    """Be `fobench` with these words; does not return."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # The parent process may have had SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 1
    try:
        cli.main(words)
    except SystemExit as left:
        status = left.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def fork(words: list[str], kill_after: float | None, number: int, log: str) -> dict[str, float]:
    began, sent = time.monotonic(), False
    child = os.fork()
    if child == 0:
        run_as_command(words, log)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG if kill_after is not None else 0)
        seconds = time.monotonic() - began
        if ended:
            return {"exit": os.waitstatus_to_exitcode(status), "sent": sent, "seconds": seconds}
        if kill_after is not None and seconds >= kill_after:
            os.kill(child, number)
            kill_after, sent = None, True
        else:
            time.sleep(0.001)


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
    for line in sys.stdin:
        asked = json.loads(line)
        Path(asked["log"]).parent.mkdir(parents=True, exist_ok=True)
        answer = fork(asked["words"], asked["kill_after"], asked["signal"], asked["log"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
