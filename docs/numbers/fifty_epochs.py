"""Freezing and training for fewer steps: the experiments of fifty epochs."""

import math
from collections.abc import Collection, Mapping

import pandas as pd

from docs.numbers.timed import misses
from docs.numbers.words import METHODS, experiment, markdown, numeral, span
from fobench.evidence import store_savings
from fobench.evidence.claim import Claim
from fobench.evidence.claim_tests import summary_against_control
from fobench.evidence.claims import read_claims
from fobench.evidence.line_to_beat import distances, line_of, points_of_seeds
from fobench.evidence.outcomes import FAILS, HOLDS, TWO_SEEDS, UNDECIDED
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import verdicts_on
from fobench.report.tables import (
    AGAINST_FEWER_STEPS,
    interval,
    methods_table,
    number,
)

EXPERIMENTS = DENSENET, WIDERESNET, VGG = ("gpu-densenet", "cpu-wideresnet", "gpu-vgg")
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
    return {
        "answers": markdown(ANSWERS, in_short),
        "fifty": markdown(("experiment", *METHODS, VERDICT), rows),
        "fifty-reference": interval(against_its_control(panels[VGG]), "points", 1, sign=True),
        "fifty-missed-cpu": span(misses(panels[WIDERESNET]), "+.1f"),
        **below_the_line(panels[WIDERESNET]),
        **differences(panels[WIDERESNET]),
        **matched(panels[WIDERESNET]),
        "fifty-matched-longer": longer(panels[DENSENET]),
        "fifty-on-front": numeral(len(on_front(panels[WIDERESNET]))),
        "fifty-on-front-few": numeral(len(on_front(panels[DENSENET]))),
        **{f"fifty-seeds-{name}": seeds_of(panel) for name, panel in panels.items()},
        "fifty-judged": numeral(len(outcomes)),
        **{f"fifty-{outcome}": numeral(outcomes.count(outcome)) for outcome in OUTCOMES},
    }


def rows_of(name: str, panel: ExperimentResults, outcomes: dict[str, str]) -> list[tuple[str, ...]]:
    """Columns of the report's table of methods, and the verdict on each that freezes."""
    rows = methods_table(panel.summary).columns(METHODS)
    return [(name, *row, outcomes.get(row[0], "one seed" * (row[1] == "1"))) for row in rows]


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


def on_front(panel: ExperimentResults) -> list[pd.Series]:
    """The methods with FreezeOut that lie on the Pareto front."""
    rows = [row for _, row in panel.summary.iterrows()]
    return [row for row in rows if row["on_front"] and row["method"].name == "freezeout"]


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


def longer(panel: ExperimentResults) -> str:
    """How much longer than the whole baseline FreezeOut takes with match_time, in percent."""
    return span([-row["saved"] for _, row in panel.summary.iterrows() if is_matched(row)], ".0f")


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
    """The verdicts on whether freezing beats fewer steps, by method that has several seeds."""
    return {
        each.finding.setting: each.outcome
        for each in verdicts_on(claim(), [panel])
        if each.outcome in OUTCOMES and each.note != TWO_SEEDS
    }


def claim() -> Claim:
    (found,) = (each for each in read_claims() if each.options.id == BEATS)
    return found
