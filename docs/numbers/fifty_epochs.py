"""Freezing and training for fewer steps: the experiments of fifty epochs."""

import pandas as pd

from docs.numbers.words import METHODS, experiment, markdown, numeral, span
from fobench.evidence import clock_noise
from fobench.evidence.claim import Claim
from fobench.evidence.claims import read_claims
from fobench.evidence.outcomes import FAILS, HOLDS, UNDECIDED
from fobench.evidence.predictions import difference
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import verdicts_on
from fobench.report.tables import (
    AGAINST_FEWER_STEPS,
    PREDICTIONS_HEADER,
    methods_table,
    number,
    predictions_table,
)

EXPERIMENTS = ("gpu-densenet", "cpu-wideresnet", "gpu-vgg")
TIMED = EXPERIMENTS[:2]
REPEATED = "gpu-densenet"  # the first seed, for the noise of equal runs
BEATS = "beats-fewer-steps"
OUTCOMES = (HOLDS, FAILS, UNDECIDED)
VERDICT = "beats fewer steps?"
ANSWERS = ("network", "method", "time saved, %", "predicted by profile, %", "n (errors)",
           "error change, points", AGAINST_FEWER_STEPS, VERDICT)  # fmt: skip


def shown() -> dict[str, str]:
    panels = {name: experiment(name) for name in EXPERIMENTS}
    found = {name: outcomes_of(panel) for name, panel in panels.items()}
    rows = [row for name, panel in panels.items() for row in rows_of(name, panel, found[name])]
    in_short = [row for name, panel in panels.items() for row in answers(panel, found[name])]
    outcomes = [outcome for each in found.values() for outcome in each.values()]
    compared = [(name, *row) for name in TIMED for row in predictions_table(panels[name]).rows]
    return {
        "answers": markdown(ANSWERS, in_short),
        "fifty": markdown(("experiment", *METHODS, VERDICT), rows),
        "fifty-noise": f"{clock_noise.noise_of_repeats(panels[REPEATED].table).percent:.1f}",
        "fifty-noise-errors": span(errors_of_repeats(panels[REPEATED]), ".1f"),
        "fifty-missed": span(misses(panels[REPEATED], precompute=False), "+.1f"),
        "fifty-missed-stores": span(misses(panels[REPEATED], precompute=True), "+.1f"),
        **{
            f"fifty-seeds-{name}": str(panel.table["seed"].nunique())
            for name, panel in panels.items()
        },
        "fifty-predicted": markdown(("experiment", *PREDICTIONS_HEADER), compared),
        "fifty-judged": numeral(len(outcomes)),
        **{f"fifty-{outcome}": numeral(outcomes.count(outcome)) for outcome in OUTCOMES},
    }


def rows_of(name: str, panel: ExperimentResults, outcomes: dict[str, str]) -> list[tuple[str, ...]]:
    """Columns of the report's table of methods, and the verdict on each that freezes."""
    rows = methods_table(panel.summary).columns(METHODS)
    return [(name, *row, outcomes.get(row[0], "")) for row in rows]


def answers(panel: ExperimentResults, outcomes: dict[str, str]) -> list[tuple[str, ...]]:
    """What each method that freezes saves, by the mean of n timed seeds, and costs; the verdict."""
    network = panel.runs[0].record["run"]["model"]["title"]
    header = ("method", "n (errors)", "error change, points", AGAINST_FEWER_STEPS)
    rows = methods_table(panel.summary).columns(header)
    times = [(measured(row), number(row["profile_saved"])) for _, row in panel.summary.iterrows()]
    return [
        (network, method, *saved, *cells, outcomes[method])
        for saved, (method, *cells) in zip(times, rows, strict=True)
        if method in outcomes
    ]


def seeds_of(panel: ExperimentResults) -> str:
    return str(panel.table["seed"].nunique())


def measured(row: pd.Series) -> str:
    return f"{number(row['saved'])}, n = {row['pairs']}" if row["pairs"] else "–"


def errors_of_repeats(panel: ExperimentResults) -> list[float]:
    """How far the test errors of two equal runs lie apart, in points."""
    errors = panel.table.groupby(["variant", "seed"])["test_error"]
    return [max(each) - min(each) for _, each in errors if len(each) > 1]


def misses(panel: ExperimentResults, precompute: bool) -> list[float]:
    """Time saved minus what the profile predicted, in points, of runs with stores or without."""
    return [
        difference(row)
        for _, row in panel.summary.iterrows()
        if getattr(row["method"], "precompute", False) == precompute
        and not row["method"].is_whole_baseline
    ]


def outcomes_of(panel: ExperimentResults) -> dict[str, str]:
    """The verdicts on whether freezing beats fewer steps, by method."""
    found = {each.finding.setting: each.outcome for each in verdicts_on(claim(), [panel])}
    return {setting: outcome for setting, outcome in found.items() if outcome in OUTCOMES}


def claim() -> Claim:
    (found,) = (each for each in read_claims() if each.options.id == BEATS)
    return found
