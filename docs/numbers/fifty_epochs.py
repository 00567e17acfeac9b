"""Freezing and training for fewer steps: the experiments of fifty epochs."""

import math
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from docs.numbers.words import METHODS, experiment, markdown, numeral, span
from fobench.evidence import clock_noise, store_savings
from fobench.evidence.claim import Claim
from fobench.evidence.claim_tests import summary_against_control
from fobench.evidence.claims import read_claims
from fobench.evidence.line_to_beat import distances, line_of, points_of_seeds
from fobench.evidence.outcomes import FAILS, HOLDS, PREDICTION_POINTS, UNDECIDED
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import verdicts_on
from fobench.report.tables import (
    AGAINST_FEWER_STEPS,
    PREDICTIONS_HEADER,
    interval,
    methods_table,
    number,
    predictions_table,
)

EXPERIMENTS = ("gpu-densenet", "cpu-wideresnet", "gpu-vgg")
TIMED = EXPERIMENTS[:2]
ON_A_CARD, ON_TWO_CORES = TIMED
BEATS = "beats-fewer-steps"
OUTCOMES = (HOLDS, FAILS, UNDECIDED)
VERDICT = "beats fewer steps?"
ANSWERS = ("network", "method", "time saved, %", "predicted by profile, %", "n (errors)",
           "error change, points", AGAINST_FEWER_STEPS, VERDICT)  # fmt: skip


def shown() -> dict[str, str]:
    panels = {name: experiment(name) for name in EXPERIMENTS}
    found = {name: outcomes_of(panel) for name, panel in panels.items()}
    rows = [row for name, panel in panels.items() for row in rows_of(name, panel, found[name])]
    of_all = set.intersection(*map(set, found.values()))
    in_short = [row for panel in panels.values() for row in answers(panel, of_all)]
    outcomes = [outcome for each in found.values() for outcome in each.values()]
    compared = [(name, *row) for name in TIMED for row in predictions_table(panels[name]).rows]
    missed_with_stores = misses(panels[ON_A_CARD], stores=True)
    return {
        "answers": markdown(ANSWERS, in_short),
        "fifty": markdown(("experiment", *METHODS, VERDICT), rows),
        "fifty-reference": interval(against_its_control(panels["gpu-vgg"]), "points", 1, sign=True),
        "fifty-noise": f"{clock_noise.noise_of_repeats(panels[ON_A_CARD].table).percent:.1f}",
        "fifty-noise-errors": span(errors_of_repeats(panels[ON_A_CARD]), ".1f"),
        "fifty-missed": span(misses(panels[ON_A_CARD], stores=False), "+.1f"),
        "fifty-missed-stores": span(missed_with_stores, "+.1f"),
        "card-missed-stores": span(missed_with_stores, "+.1f"),
        "fifty-missed-cpu": span(misses(panels[ON_TWO_CORES]), "+.1f"),
        "fifty-missed-much": numeral(beyond(missed_with_stores)),
        **below_the_line(panels[ON_TWO_CORES]),
        **differences(panels[ON_TWO_CORES]),
        **matched(panels[ON_TWO_CORES]),
        "fifty-on-front": numeral(on_front(panels[ON_TWO_CORES])),
        **{f"fifty-seeds-{name}": seeds_of(panel) for name, panel in panels.items()},
        "fifty-predicted": markdown(("experiment", *PREDICTIONS_HEADER), compared),
        "fifty-judged": numeral(len(outcomes)),
        **{f"fifty-{outcome}": numeral(outcomes.count(outcome)) for outcome in OUTCOMES},
    }


def rows_of(name: str, panel: ExperimentResults, outcomes: dict[str, str]) -> list[tuple[str, ...]]:
    """Columns of the report's table of methods, and the verdict on each that freezes."""
    rows = methods_table(panel.summary).columns(METHODS)
    return [(name, *row, outcomes.get(row[0], "")) for row in rows]


def answers(panel: ExperimentResults, methods: Collection[str]) -> list[tuple[str, ...]]:
    """What each of some methods that freeze saves, by the mean of n timed seeds, and costs; the
    verdict."""
    network, outcomes = panel.runs[0].record["run"]["model"]["title"], outcomes_of(panel)
    header = ("method", "n (errors)", "error change, points", AGAINST_FEWER_STEPS)
    rows = methods_table(panel.summary).columns(header)
    times = [(measured(row), number(row["profile_saved"])) for _, row in panel.summary.iterrows()]
    return [
        (network, method, *saved, *cells, outcomes[method])
        for saved, (method, *cells) in zip(times, rows, strict=True)
        if method in methods
    ]


def seeds_of(panel: ExperimentResults) -> str:
    return str(panel.table["seed"].nunique())


def measured(row: pd.Series) -> str:
    return f"{interval(row, 'saved')}, n = {row['pairs']}" if row["pairs"] else "–"


def against_its_control(panel: ExperimentResults) -> pd.Series:
    """The one method that has a control of its own, compared with it."""
    controlled = [run.id for run in panel.runs if run.record.get("control")]
    ((_, row),) = summary_against_control(panel, controlled).iterrows()
    return row


def errors_of_repeats(panel: ExperimentResults) -> list[float]:
    """How far the test errors of two equal runs lie apart, in points."""
    errors = panel.table.groupby(["variant", "seed"])["test_error"]
    return [max(each) - min(each) for _, each in errors if len(each) > 1]


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


def beyond(missed: Sequence[float]) -> int:
    """How many predictions are further off than the intervals allow for."""
    return sum(abs(each) > PREDICTION_POINTS for each in missed)


def below_the_line(panel: ExperimentResults) -> dict[str, str]:
    """Of single timed seeds of the undecided methods, how many lie below the line: at the times
    that were measured, and at predicted ones."""
    timed = panel.table[panel.table["timed"]]
    found = {
        name: undecided_distances(panel, runs)
        for name, runs in {
            "fifty-at-measured": timed,
            "fifty-at-predicted": timed.assign(log_ratio=math.nan),
        }.items()
    }
    counts = {name: numeral(sum(each < 0 for each in of)) for name, of in found.items()}
    return counts | {"fifty-single": numeral(len(found["fifty-at-measured"]))}


def undecided_distances(panel: ExperimentResults, runs: pd.DataFrame) -> list[float]:
    """The distances of undecided methods to the line in each seed of some runs."""
    outcomes, variants = outcomes_of(panel), panel.summary
    line, seeds = line_of(variants), points_of_seeds(runs, variants)
    return [
        each.points
        for _, row in variants.iterrows()
        if outcomes.get(row["method"].label()) == UNDECIDED
        for each in distances(row["variant"], line, seeds)
    ]


def on_front(panel: ExperimentResults) -> int:
    """How many methods with FreezeOut lie on the Pareto front."""
    rows = [row for _, row in panel.summary.iterrows()]
    return sum(row["on_front"] for row in rows if row["method"].name == "freezeout")


def differences(panel: ExperimentResults) -> dict[str, str]:
    """What an option changes the error by, in points: the least and the greatest of the means."""
    stores = store_savings.summary(panel)
    return {
        "fifty-unscaled-linear": span(
            changes(panel, {"scaling": "linear", "scale_lr": False}, scale_lr=True), "+.1f"
        ),
        "fifty-unscaled-cubic": span(
            changes(panel, {"scaling": "cubic", "scale_lr": False}, scale_lr=True), "+.1f"
        ),
        "fifty-views": span(changes(panel, {"views": 8, "precompute": False}, views=None), "+.1f"),
        "fifty-stored": span(stores.loc[stores["n"] > 0, "points"].tolist(), "+.1f"),
    }


def matched(panel: ExperimentResults) -> dict[str, str]:
    """Of FreezeOut with as many more steps as it pays for: its epochs, and how far off the line."""
    rows = {row["method"].t0: (row, runs) for row, runs in panel.variants() if is_matched(row)}
    found = {}
    for name, t0 in (("early", 0.5), ("late", 0.8)):
        row, runs = rows[t0]
        found[f"fifty-matched-{name}"] = interval(row, "fewer_steps", 1, sign=True)
        found[f"fifty-matched-epochs-{name}"] = str(len(runs[0].epochs))
    return found


def is_matched(row: pd.Series) -> bool:
    return row["method"].name == "freezeout" and row["method"].match_time


def changes(
    panel: ExperimentResults, options: Mapping[str, object], **others: object
) -> list[float]:
    """The mean test error of methods with some options, minus that with others, over the seeds of
    both."""
    named = dict(zip(panel.summary["method"], panel.summary["variant"], strict=True))
    return [
        float((errors_of(panel, name) - errors_of(panel, named[other])).mean())
        for method, name in named.items()
        if method.name == "freezeout"
        and all(getattr(method, key) == value for key, value in options.items())
        and (other := method.replace(**others)) in named
    ]


def errors_of(panel: ExperimentResults, variant: str) -> pd.Series:
    """The test errors of a variant, by seed."""
    return panel.table[panel.table["variant"] == variant].groupby("seed")["test_error"].mean()


def outcomes_of(panel: ExperimentResults) -> dict[str, str]:
    """The verdicts on whether freezing beats fewer steps, by method."""
    found = {each.finding.setting: each.outcome for each in verdicts_on(claim(), [panel])}
    return {setting: outcome for setting, outcome in found.items() if outcome in OUTCOMES}


def claim() -> Claim:
    (found,) = (each for each in read_claims() if each.options.id == BEATS)
    return found
