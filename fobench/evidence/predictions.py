"""Predictions of the time saved, beside what was measured."""

import math
from collections.abc import Iterator

import pandas as pd

from fobench.evidence.clock_noise import Noise, noise_of_repeats, noise_of_seeds

TOLERANCE = 2.0  # points of time saved


def missed(runs: pd.DataFrame, variants: pd.DataFrame) -> Iterator[pd.Series]:
    """The variants of a summary whose time saved is not what the profile predicts.

    It differs by more than TOLERANCE and by more than the noise. `runs` is their
    `pairs.table`.
    """
    noise = noise_of_repeats(runs) or noise_of_seeds(runs)
    for _, row in variants[variants["pairs"] > 0].iterrows():
        low, high = noise_range(row, noise)
        predicted = row["profile_saved"]
        if abs(row["saved"] - predicted) > TOLERANCE and not low <= predicted <= high:
            yield row


def noise_range(row: pd.Series, noise: Noise | None) -> tuple[float, float]:
    """The interval of a measured time saved; of one pair, as far as two runs of equal work differ.

    Empty about the measured value if the noise is not known.
    """
    if row["pairs"] > 1:
        return row["saved_low"], row["saved_high"]
    # The noise is in percent of a time, and the time left in percent of the baseline's.
    half = 0.0 if noise is None else noise.half_width(2) * (1 - row["saved"] / 100)
    return row["saved"] - half, row["saved"] + half


def difference(row: pd.Series) -> float:
    """Measured minus predicted by the profile, in points; NaN unless both are known."""
    return row["saved"] - row["profile_saved"] if row["pairs"] else math.nan
