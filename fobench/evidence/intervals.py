"""Means and their confidence intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of n values with its Student t interval; no interval for n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def map(self, function: Callable[[float], float]) -> "Interval":
        """The mean and interval mapped through a monotone function."""
        ends = [None if end is None else function(end) for end in (self.low, self.high)]
        low, high = ends if None in ends else sorted(ends)
        return Interval(function(self.mean), low, high, self.n)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean and two-sided Student t interval of independent values; NaN for none."""
    n = len(values)
    if n == 0:
        return Interval(math.nan, None, None, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = student.ppf(0.5 + confidence / 2, n - 1) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)


def time_saved(log_ratios: Sequence[float]) -> Interval:
    """Time saved in percent, from log(T(run) / T(its baseline)) of each pair.

    The mean and interval are computed on the logs, where halving and doubling weigh the same.
    """
    return mean_interval(log_ratios).map(lambda log_ratio: 100 * (1 - math.exp(log_ratio)))


def speedup(log_ratios: Sequence[float]) -> Interval:
    """T(its baseline) / T(run), from the same logs."""
    return mean_interval(log_ratios).map(lambda log_ratio: math.exp(-log_ratio))


def columns(name: str, interval: Interval) -> dict[str, float | None]:
    """The interval as columns of a table: `name`, `name_low`, `name_high`."""
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
