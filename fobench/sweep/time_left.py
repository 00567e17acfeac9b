"""Time left of a sweep, from the seconds and FLOPs of finished runs."""

from collections.abc import Iterable

from fobench.experiment.run import Run


class Pace:
    """Seconds per FLOP of each network, or of all for a network without a finished run."""

    def __init__(self) -> None:
        self._seconds: dict[object, float] = {}
        self._work: dict[object, int] = {}

    def add(self, run: Run, seconds: float) -> None:
        """Add a finished run and its seconds of training and evaluation."""
        for key in (None, run.model):
            self._seconds[key] = self._seconds.get(key, 0.0) + seconds
            self._work[key] = self._work.get(key, 0) + work_of(run)

    def seconds_for(self, runs: Iterable[Run]) -> float | None:
        """Predicted seconds of these runs; None before any run is finished."""
        if not self._work:
            return None
        seconds = 0.0
        for run in runs:
            network = run.model
            key = network if network in self._work else None
            seconds += work_of(run) * self._seconds[key] / self._work[key]
        return seconds


def work_of(run: Run) -> int:
    # Torch counts them.
    from fobench.costs.flops import total_flops

    return total_flops(run)


def format_duration(seconds: float) -> str:
    """Seconds as text: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
