"""What a report says of the noise of the clock."""

import pandas as pd

from fobench.errors import counted
from fobench.evidence import clock_noise
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import number


def noise_notes(results: ExperimentResults) -> list[str]:
    """The spread of times of equal work: repeats, first epochs, seeds and pairs."""
    if not results.table["timed"].any():
        return ["Unknown: no run's time counts, as each was trained beside others or resumed."]
    repeats = clock_noise.noise_of_repeats(results.table)
    if repeats is None:
        notes = ["Repeats (A/A): none; `experiment.repeats = 2` runs everything twice."]
    else:
        same = errors_repeat(results.table)
        notes = [
            f"Repeats (A/A): {deviation(repeats)}. Two runs of equal work differ by less than "
            f"{number(repeats.half_width(2))} % in 95 of 100 cases. Their test errors "
            f"{'are equal to the last digit' if same else 'differ'}."
        ]
    drift = clock_noise.noise_of_first_epochs(results.table)
    if drift is not None:
        notes.append(
            f"First epochs of a seed's runs, in which nothing is frozen: {deviation(drift)}. It "
            "shows the drift of the machine while the methods of a seed are trained."
        )
    seeds = clock_noise.noise_of_seeds(results.table)
    if seeds is not None:
        notes.append(
            f"Seeds of a method, whose work is equal too: {deviation(seeds)}. It includes the "
            "machine's drift, which pairing removes in part."
        )
    paired = clock_noise.noise_of_pairs(results.table)
    if paired is not None:
        notes.append(
            f"Ratios of a method's seeds to their baselines: {deviation(paired)}. A single pair "
            f"lies within {number(paired.half_width(1))} % of the true ratio in 95 of 100 cases."
        )
    return notes


def deviation(found: clock_noise.Noise) -> str:
    degrees = counted(round(found.degrees), "degree")
    return f"standard deviation {number(found.percent)} % ({degrees} of freedom)"


def errors_repeat(table: pd.DataFrame) -> bool:
    """Whether all repeats of a seed end with the same test error."""
    return bool((table.groupby(["variant", "seed"])["test_error"].nunique() == 1).all())
