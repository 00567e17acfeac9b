"""Early stops of a sweep: signals and the time limit."""

import math
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

# What a terminal, a user and schedulers send to end a job, or to warn it of its time limit.
SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)
# Beyond the limit of processor time, the kernel sends it every second.
REPEATED = {signal.SIGXCPU}
# `timeout`, `conda run` and others send one signal twice: to the process and to its group.
TWICE_SECONDS = 0.2
# EX_TEMPFAIL of sysexits.h, "try again later": a scheduler can restart the sweep.
EXIT_TIME_LIMIT = 75


class Stopped(BaseException):
    """The sweep stops here. Not an Exception, so that it is not handled as a failed run."""

    def __init__(self, reason: str, exit_status: int) -> None:
        super().__init__(reason)
        self.exit_status = exit_status


@contextmanager
def stopping_on_signals(repeated: Collection[signal.Signals] = REPEATED) -> Iterator[None]:
    """In the block, the first of SIGNALS raises Stopped, the second kills the process.

    A signal sent twice at once is one; a `repeated` one never kills, even after the block. Signals
    that are ignored, as after `nohup`, or that a C library handles are left as they are.
    """
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            return
        time.sleep(TWICE_SECONDS)
        for each in handled:
            signal.signal(each, signal.SIG_IGN if each in repeated else signal.SIG_DFL)
        raise Stopped(signal.Signals(number).name, 128 + number)

    before = {each: signal.getsignal(each) for each in SIGNALS}
    handled = [each for each, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for each in handled:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in handled:
            if each not in repeated or each not in received:
                signal.signal(each, before[each])


class Deadline:
    """The time limit of a sweep: no epoch starts that is expected to end after it.

    The duration of the first epoch is unknown.
    """

    def __init__(self, seconds: float | None) -> None:
        """`seconds` from now on; None for no limit."""
        self._epoch_started = time.monotonic()
        self._end = None if seconds is None else self._epoch_started + seconds
        self._longest = self._test = 0.0
        self._epochs = 0

    def expect_epoch(self, seconds: float) -> None:
        """Report the known duration of an epoch.

        Raises Stopped if there is no time for it, except before the first epoch: every start of a
        sweep trains at least one, so that it makes progress under any time limit.
        """
        self._longest = max(self._longest, seconds)
        if self._epochs:
            self.require_time()

    def expect_test(self, seconds: float) -> None:
        """Report how much longer the next epoch will take than others, as a test follows it."""
        self._test = seconds

    def start_epoch(self) -> None:
        """Report the start of an epoch."""
        self._epoch_started = time.monotonic()

    def end_epoch(self) -> None:
        """Report that an epoch is trained, evaluated and written."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._epoch_started)
        self._epoch_started = now
        self._epochs += 1
        self._test = 0.0

    @property
    def is_close(self) -> bool:
        """Whether another epoch, as long as the longest so far, would end too late, or its test."""
        return self._end is not None and time.monotonic() + self._longest + self._test > self._end

    @property
    def seconds_left(self) -> float:
        """Infinite without a limit."""
        return math.inf if self._end is None else self._end - time.monotonic()

    def require_time(self) -> None:
        """Raises Stopped if there is no time for another epoch."""
        if self.is_close:
            raise Stopped("the time limit", EXIT_TIME_LIMIT)
