"""Which setting is chosen by its validation error."""

import math
from collections.abc import Sequence

import pandas as pd

from fobench.evidence.outcomes import Margin
from fobench.records.runs import RunResult


def choose(
    saved: Sequence[float], variants: Sequence[Sequence[RunResult]], time: Margin
) -> int | None:
    """The place of the lowest validation error among variants that save as much as claimed.

    If none does, of the one that saves most. None if the errors to choose by are not known. What
    saves too little does not narrow the seeds on which the others are compared.
    """
    enough = [place for place, each in enumerate(saved) if each in time]
    if not enough:
        return max(range(len(saved)), key=lambda place: saved[place])
    errors = validation_errors([variants[place] for place in enough])
    if any(map(math.isnan, errors)):
        return None
    return enough[errors.index(min(errors))]


def validation_errors(variants: Sequence[Sequence[RunResult]]) -> list[float]:
    """The mean of each variant's runs after the last epoch, over the seeds that all have.

    NaN if no seed is common to all, or if it was not measured in one of these. Of an ensemble, that
    of its last member: the ensemble is only tested.
    """
    by_seed = [
        pd.Series(
            [run.epochs[-1].val_error for run in runs],
            [run.record["run"]["seed"] for run in runs],
            dtype=float,
        )
        for runs in variants
    ]
    common = set.intersection(*(set(errors.index) for errors in by_seed))
    # Repeats of a seed are no further samples.
    means = [errors.groupby(level=0).apply(mean_of_all) for errors in by_seed]
    return [mean_of_all(each[each.index.isin(common)]) for each in means]


def mean_of_all(errors: pd.Series) -> float:
    """NaN if one of them is not known."""
    return float(errors.mean(skipna=False))
