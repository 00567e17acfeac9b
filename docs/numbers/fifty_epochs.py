"""Freezing and training for fewer steps: the experiments of fifty epochs."""

from docs.numbers.words import METHODS, experiment, markdown, numeral, span
from fobench.evidence.claim import Claim
from fobench.evidence.claims import read_claims
from fobench.evidence.outcomes import FAILS, HOLDS, UNDECIDED
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import verdicts_on
from fobench.report.tables import methods_table, predictions_table

EXPERIMENTS = ("cpu-wideresnet",)
BEATS = "beats-fewer-steps"
OUTCOMES = (HOLDS, FAILS, UNDECIDED)
HEADER = ("experiment", *METHODS, "beats fewer steps?")


def shown() -> dict[str, str]:
    panels = {name: experiment(name) for name in EXPERIMENTS}
    rows = [row for name, panel in panels.items() for row in rows_of(name, panel)]
    outcomes = [row[-1] for row in rows if row[-1] in OUTCOMES]
    return {
        "fifty": markdown(HEADER, rows),
        "fifty-predicted": predictions_table(panels[EXPERIMENTS[0]]).markdown().rstrip(),
        "fifty-seeds": numeral(len(panels[EXPERIMENTS[0]].table["seed"].unique())),
        "fifty-judged": numeral(len(outcomes)),
        **{f"fifty-{outcome}": numeral(outcomes.count(outcome)) for outcome in OUTCOMES},
        **distances(panels),
    }


def rows_of(name: str, panel: ExperimentResults) -> list[tuple[str, ...]]:
    """Columns of the report's table of methods, and the verdict on each."""
    outcomes = {found.finding.setting: found.outcome for found in verdicts_on(claim(), [panel])}
    return [
        (name, *row, outcomes.get(row[0], ""))
        for row in methods_table(panel.summary).columns(METHODS)
    ]


def claim() -> Claim:
    (found,) = (each for each in read_claims() if each.options.id == BEATS)
    return found


def distances(panels: dict[str, ExperimentResults]) -> dict[str, str]:
    """Of the means of FreezeOut on the line: those with a store, those of fresh images without."""
    stored, fresh = list[float](), list[float]()
    for panel in panels.values():
        on_line = panel.summary[panel.summary["fewer_steps"].notna()]
        for method, distance in zip(on_line["method"], on_line["fewer_steps"], strict=True):
            if method.name == "freezeout" and not method.matches_time:
                if method.stores.precompute:
                    stored.append(distance)
                elif not method.views:
                    fresh.append(distance)
    return {
        "fifty-without-stores": span(fresh, "+.1f"),
        "fifty-with-stores": span(stored, "+.1f"),
    }
