"""The process group of the ranks: joined at the start, watched until the end.

Ranks wait for each other as long as it takes, for hours where the first one measures or plans. So
threads, which sleep meanwhile, wait on connections of their own: the system closes them when a
process ends, however that ends.
"""

import atexit
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import PrefixStore, ProcessGroup, Store, TCPStore

from fobench.errors import UserError
from fobench.machine.host import host
from fobench.machine.launch import Launch
from fobench.machine.ranks import FIRST, Ranks, RanksOfGroup, be_current

SECONDS_TO_JOIN = 300.0
FOREVER = timedelta(days=365)
# What a collective on a GPU does when a rank is lost: it may wait forever. On the CPU it fails.
SECONDS_TO_NOTICE = 60.0
SECONDS_FOR_NEWS = 2.0
EXIT_LOST = 2

_watch: "Watch | None" = None


def report_failure(reason: str) -> None:
    """Tell the first rank why this one ends; called by the others."""
    if _watch is not None:
        _watch.say(reason)


def join(launch: Launch, device_name: str) -> Ranks:
    """Join the other processes of a launcher, with the GPU of this one, if it is to use one.

    Every process but the first ends with status 0 as soon as that has ended.

    Raises UserError if it has no GPU of its own, or if not all processes come.
    """
    global _watch
    on_gpu = torch.cuda.is_available() and device_name != "cpu"
    if on_gpu:
        take_gpu(launch)
    store = connect(launch)
    try:
        wait_for_all(store, launch)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=store,
            rank=launch.rank,
            world_size=launch.count,
            timeout=FOREVER,
        )
        watched = distributed.new_group(backend="gloo", timeout=FOREVER)
        found: list[str] = [""] * launch.count
        distributed.all_gather_object(found, host())
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the {launch.count} processes cannot be connected: {reason}") from error
    _watch = Watch(launch, watched, may_hang=on_gpu)
    ranks = RanksOfGroup(launch.rank, launch.count, found, _watch.why_lost)
    be_current(ranks)
    return ranks


def take_gpu(launch: Launch) -> None:
    """Make the GPU with the number of this process the current one, or the only one it sees."""
    gpus = torch.cuda.device_count()
    if 1 < gpus <= launch.local_rank:
        raise UserError(
            f"LOCAL_RANK is {launch.local_rank}, but this host has {gpus} GPUs for its processes: "
            "start one for each, or give --device cpu"
        )
    torch.cuda.set_device(launch.local_rank if gpus > 1 else 0)


def connect(launch: Launch) -> Store:
    """The store through which the processes find each other; torchrun has one already."""
    address, port = launch.address
    of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store = TCPStore(
            address,
            port,
            launch.count,
            is_master=launch.rank == FIRST and not of_launcher,
            wait_for_workers=False,
            timeout=timedelta(seconds=SECONDS_TO_JOIN),
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"MASTER_ADDR = {address}, MASTER_PORT = {port} cannot be reached ({reason}): give the "
            "first process's host and a free port of it"
        ) from error
    return PrefixStore(f"fobench {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def wait_for_all(store: Store, launch: Launch) -> None:
    """Raises UserError if not all processes come in time. Signals are heard meanwhile.

    Also if the store is that of other processes, with which this one would wait forever.
    """
    if store.add(f"rank {launch.rank}", 1) > 1:
        raise UserError(
            f"MASTER_PORT = {launch.address[1]} is in use by other processes that train together: "
            "give a free port"
        )
    missing, end = list(range(launch.count)), time.monotonic() + SECONDS_TO_JOIN
    while missing := [each for each in missing if not store.check([f"rank {each}"])]:
        if time.monotonic() > end:
            raise UserError(
                f"{len(missing)} of {launch.count} processes did not come within "
                f"{SECONDS_TO_JOIN:.0f} s: start all, with the same WORLD_SIZE, MASTER_ADDR and "
                "MASTER_PORT"
            )
        time.sleep(0.05)


class Watch:
    """Notices the end of the first rank in the others, and of the others in the first."""

    def __init__(self, launch: Launch, group: ProcessGroup, may_hang: bool) -> None:
        self._group, self._may_hang = group, may_hang
        self._first_lost = ""  # others are lost by it
        self._news, self._is_over = threading.Event(), False
        first = launch.rank == FIRST
        work, others = (self._notice, range(1, launch.count)) if first else (self._follow, [FIRST])
        self._threads = {
            other: threading.Thread(target=work, args=(other,), daemon=True) for other in others
        }
        for thread in self._threads.values():
            thread.start()
        if first:
            atexit.register(self._end_others)

    def why_lost(self) -> str:
        """Which rank was lost first, with what it said; "" if none. Waits a moment for that."""
        # Signals that a launcher sends to all processes are handled meanwhile, and go before.
        time.sleep(SECONDS_FOR_NEWS / 4)
        self._news.wait(SECONDS_FOR_NEWS)
        return self._first_lost

    def say(self, text: str, to: int = FIRST) -> None:
        """Send a rank why this one ends, if it is still there."""
        encoded = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        with suppress(RuntimeError):
            for each in (torch.tensor([len(encoded)]), encoded):
                distributed.send(each, to, group=self._group)

    def _end_others(self) -> None:
        """End the others, before this process does: a thread that wakes up later would abort it."""
        self._is_over = True
        for other in self._threads:
            self.say("done", to=other)
        for thread in self._threads.values():
            thread.join(SECONDS_FOR_NEWS)

    def _follow(self, first: int) -> None:
        """End this process with the first one."""
        self._receive(first)
        os._exit(0)

    def _notice(self, other: int) -> None:
        """Note the end of another one, and end this process if it does not get to know of it."""
        said = self._receive(other)
        if self._is_over:
            return
        lost = f"process {other} {f'failed: {said}' if said else 'has ended'}"
        self._first_lost = self._first_lost or lost
        self._news.set()
        if self._may_hang:
            time.sleep(SECONDS_TO_NOTICE)
            print(
                f"Error: {self._first_lost}: the same command resumes", file=sys.stderr, flush=True
            )
            os._exit(EXIT_LOST)

    def _receive(self, other: int) -> str:
        """What a rank says before it ends; "" if it says nothing."""
        length = torch.zeros(1, dtype=torch.int64)
        try:
            distributed.recv(length, other, group=self._group)
            said = torch.zeros(int(length), dtype=torch.uint8)
            distributed.recv(said, other, group=self._group)
        except RuntimeError:
            return ""
        return bytes(said.tolist()).decode(errors="replace")
