"""What the profile predicts, beside runs that were timed alone on their machine."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

import pandas as pd

from docs.numbers.words import experiment, markdown, numeral, span
from fobench.evidence import clock_noise
from fobench.evidence.outcomes import PREDICTION_POINTS
from fobench.evidence.predictions import difference
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import PREDICTIONS_HEADER, predictions_table

EXPERIMENTS = ON_CARDS, ON_TWO_CORES = ("gpu-densenet", "cpu-timed")


def shown() -> dict[str, str]:
    cards, cores = map(experiment, EXPERIMENTS)
    stored = misses(cards, stores=True)
    return {
        "timed": markdown(("experiment", *PREDICTIONS_HEADER), rows()),
        "timed-cards": span(misses(cards, stores=False), "+.1f"),
        "timed-cards-stores": span(stored, "+.1f"),
        "timed-cards-much": numeral(beyond(stored)),
        "timed-cards-stored": numeral(len(stored)),
        "card-missed-stores": span(stored, "+.1f"),
        "timed-first": span(of_first_runs(cards), ".1f"),
        "timed-cores": span(misses(cores, stores=False), "+.1f"),
        "timed-cores-stores": span(misses(cores, stores=True), "+.1f"),
        "timed-cores-mean": f"{mean_difference(cores):+.1f}",
        "timed-drift": f"{clock_noise.noise_of_first_epochs(cores.table).percent:.0f}",
    }


def rows() -> Iterator[tuple[str, ...]]:
    """The report's tables of predictions, of the methods that freeze."""
    for name in EXPERIMENTS:
        for row in predictions_table(experiment(name)).rows:
            if not row[0].startswith("baseline"):
                yield name, *row


def misses(panel: ExperimentResults, stores: bool | None = None) -> list[float]:
    """Time saved minus what the profile predicted, in points, of single timed runs.

    Of those with stores, or without, or of all.
    """
    return [
        100 * (1 - math.exp(row["log_ratio"])) - row["profile_saved"]
        for _, row in panel.table.iterrows()
        if not math.isnan(row["log_ratio"]) and not row["method"].is_whole_baseline
        if stores in (None, getattr(row["method"], "precompute", False))
    ]


def mean_difference(panel: ExperimentResults) -> float:
    """Measured minus predicted by the profile, in points, over the methods that freeze."""
    rows = [row for _, row in panel.summary.iterrows() if not row["method"].is_baseline]
    return fmean(difference(row) for row in rows)


def of_first_runs(panel: ExperimentResults) -> list[float]:
    """By how much longer baselines took for a slow first epoch, in percent; of the others nothing.

    It is slow if it is further above the median of the seed's other runs than any of these. That it
    is so because the run was the first of its process is likely, and not measured.
    """
    whole = [method.is_whole_baseline for method in panel.table["method"]]
    found = []
    for _, runs in panel.table[panel.table["timed"]].groupby("seed"):
        baseline = runs[pd.Series(whole, panel.table.index)[runs.index]].iloc[0]
        others = runs.loc[runs["id"] != baseline["id"], "first_epoch_seconds"]
        longer = baseline["first_epoch_seconds"] - others.median()
        if longer > others.max() - others.median():
            found.append(100 * longer / baseline["train_seconds"])
    return found


def beyond(missed: Sequence[float]) -> int:
    """How many predictions are further off than the intervals allow for."""
    return sum(abs(each) > PREDICTION_POINTS for each in missed)
