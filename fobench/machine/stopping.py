"""What ends a sweep before it is done: a signal, or the time allowed."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# "Try again later", as sysexits.h has it: a scheduler can start the sweep again.
TIME_IS_UP = 75


class Stopped(BaseException):
    """The sweep ends here. No Exception, so that nobody takes it for a run's failure."""

    def __init__(self, reason: str, exit_status: int) -> None:
        super().__init__(reason)
        self.exit_status = exit_status


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Within the block the first SIGINT or SIGTERM raises Stopped, the second ends the process.

    A signal that is ignored, as in the background of a shell, stays ignored.
    """

    def stop(number: int, _: FrameType | None) -> None:
        for each in heeded:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(signal.Signals(number).name, 128 + number)

    before = {each: signal.getsignal(each) for each in SIGNALS}
    heeded = [each for each, handler in before.items() if handler != signal.SIG_IGN]
    for each in heeded:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in heeded:
            signal.signal(each, before[each])


class Deadline:
    """The end of the time allowed: no epoch begins that would pass it, as far as is known.

    The first one of a sweep is not foreseen.
    """

    def __init__(self, seconds: float | None) -> None:
        """The time allowed from now on; None for all the time that there is."""
        self._lap_began = time.monotonic()
        self._end = None if seconds is None else self._lap_began + seconds
        self._longest = 0.0
        self._laps = 0

    def expect(self, seconds: float) -> None:
        """An epoch is known to take so long.

        Raises Stopped where there is no time for it, unless none was done yet: each start of a
        sweep does one at least, so that it comes to its end in pieces of any length.
        """
        self._longest = max(self._longest, seconds)
        if self._laps:
            self.require_time()

    def start_lap(self) -> None:
        """An epoch begins."""
        self._lap_began = time.monotonic()

    def end_lap(self) -> None:
        """An epoch is done, evaluated and written."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._lap_began)
        self._lap_began = now
        self._laps += 1

    @property
    def is_near(self) -> bool:
        """Whether another epoch as long as the longest so far would end too late."""
        return self._end is not None and time.monotonic() + self._longest > self._end

    def require_time(self) -> None:
        """Raises Stopped where there is no time for another epoch."""
        if self.is_near:
            raise Stopped("the time limit", TIME_IS_UP)
