"""The ranks of a sweep behind the first: they do what it tells, silently, until it ends."""

import logging
import os
import signal
import sys
import time
import warnings
from contextlib import ExitStack
from typing import NoReturn

import torch

from fobench.data.split import load
from fobench.errors import UserError
from fobench.machine import process_group
from fobench.machine.interruption import SIGNALS
from fobench.machine.launch import Launch
from fobench.machine.lock import machine_lock
from fobench.machine.ranks import FIRST, LostRankError, Ranks
from fobench.sweep.leader import Start, meet
from fobench.sweep.messages import Images
from fobench.training.failure import log_failure
from fobench.training.followed import RunToFollow, follow

log = logging.getLogger(__name__)

SECONDS_TO_END = 5.0  # that the end of the first rank may take to be noticed


def follow_first(launch: Launch, device_name: str) -> NoReturn:
    """Train what the first rank sends. Ends with it: with status 1 only for a failure here.

    Nothing is printed but a failure of this process.
    """
    fall_silent(launch)
    status = 1
    try:
        serve(process_group.join(launch, device_name))
    except LostRankError as error:
        # The first one tells the user, whichever is lost, and its end ends this process. If it does
        # not end, it waits for this one.
        time.sleep(SECONDS_TO_END)
        process_group.report_failure(str(error))
        status = 0
    except UserError as error:
        log.error("%s", error)
        process_group.report_failure(str(error))
    except Exception as error:
        log.error("it failed", exc_info=error)
        process_group.report_failure(f"{type(error).__name__}: {error}")
    os._exit(status)  # a thread waits for the first one


def fall_silent(launch: Launch) -> None:
    """Let any signal end this process, and hide all but its errors."""
    for each in SIGNALS:
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  of a user's network
    logging.basicConfig(format=f"process {launch.rank}: %(message)s", force=True)
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("fobench").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def serve(ranks: Ranks) -> NoReturn:
    """Do what the first rank tells. Raises LostRankError if a rank is lost."""
    data = device = None
    with ExitStack() as until_the_end:
        while True:
            match told := ranks.hear():
                case Start():
                    device = told.device
                    torch.set_num_threads(told.threads)
                    if is_first_elsewhere(ranks):
                        until_the_end.enter_context(machine_lock(shared=not told.timed))
                    meet(ranks, device)
                case Images():
                    data = None  # before the next images need its memory
                    data = load(told.dataset, told.used, told.augment, device, told.place)
                case RunToFollow():
                    try:
                        follow(told, data, device, ranks)
                    except (LostRankError, UserError):
                        raise
                    except Exception as error:
                        process_group.report_failure(log_failure(told.run, error))
                        os._exit(1)


def is_first_elsewhere(ranks: Ranks) -> bool:
    """Whether this is the first rank of a host that is not the first rank's."""
    here = ranks.hosts[ranks.rank]
    return here != ranks.hosts[FIRST] and ranks.hosts.index(here) == ranks.rank
