"""When a sweep will be done, from the runs that are: their seconds by their FLOPs."""

from collections.abc import Iterable

from fobench.costs.flops import work
from fobench.experiment.run import Run


class Pace:
    """Seconds a FLOP, by network; that of all where a network has no run done yet."""

    def __init__(self) -> None:
        self._seconds: dict[object, float] = {}
        self._work: dict[object, int] = {}

    def done(self, run: Run, seconds: float) -> None:
        """A run took so many seconds, training and evaluation."""
        for key in (None, run.model):
            self._seconds[key] = self._seconds.get(key, 0.0) + seconds
            self._work[key] = self._work.get(key, 0) + work(run)

    def seconds_for(self, runs: Iterable[Run]) -> float | None:
        """What these runs will take; None before any is done."""
        if not self._work:
            return None
        seconds = 0.0
        for run in runs:
            network = run.model
            key = network if network in self._work else None
            seconds += work(run) * self._seconds[key] / self._work[key]
        return seconds


def format_duration(seconds: float) -> str:
    """Seconds for a person: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
