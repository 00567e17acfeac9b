"""Freezing and training for fewer steps: the experiments of fifty epochs."""

from docs.numbers.words import METHODS, experiment, markdown, numeral, span
from fobench.evidence.claim import Claim
from fobench.evidence.claims import read_claims
from fobench.evidence.outcomes import FAILS, HOLDS, UNDECIDED
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import verdicts_on
from fobench.report.tables import AGAINST_FEWER_STEPS, methods_table, predictions_table

EXPERIMENTS = ("cpu-wideresnet",)
BEATS = "beats-fewer-steps"
OUTCOMES = (HOLDS, FAILS, UNDECIDED)
VERDICT = "beats fewer steps?"
ANSWERS = ("network", "method", "n", "time saved by the profile, %", "error change, points",
           AGAINST_FEWER_STEPS, VERDICT)  # fmt: skip


def shown() -> dict[str, str]:
    panels = {name: experiment(name) for name in EXPERIMENTS}
    rows = [row for name, panel in panels.items() for row in rows_of(name, panel)]
    outcomes = [row[-1] for row in rows if row[-1]]
    return {
        "answers": markdown(ANSWERS, [row for each in panels.values() for row in answers(each)]),
        "fifty": markdown(("experiment", *METHODS, VERDICT), rows),
        "fifty-predicted": predictions_table(panels[EXPERIMENTS[0]]).markdown().rstrip(),
        "fifty-seeds": str(panels[EXPERIMENTS[0]].table["seed"].nunique()),
        "fifty-judged": numeral(len(outcomes)),
        **{f"fifty-{outcome}": numeral(outcomes.count(outcome)) for outcome in OUTCOMES},
        **distances(panels),
    }


def rows_of(name: str, panel: ExperimentResults) -> list[tuple[str, ...]]:
    """Columns of the report's table of methods, and the verdict on each that freezes."""
    found = outcomes_of(panel)
    return [
        (name, *row, found.get(row[0], "")) for row in methods_table(panel.summary).columns(METHODS)
    ]


def answers(panel: ExperimentResults) -> list[tuple[str, ...]]:
    """What each method that freezes saves and costs, and the verdict."""
    network, found = panel.runs[0].record["run"]["model"]["title"], outcomes_of(panel)
    header = ("method", "n (errors)", "error change, points", AGAINST_FEWER_STEPS)
    rows = methods_table(panel.summary).columns(header)
    return [
        (network, method, n, f"{predicted:.1f}", *cells, found[method])
        for predicted, (method, n, *cells) in zip(panel.summary["profile_saved"], rows, strict=True)
        if method in found
    ]


def outcomes_of(panel: ExperimentResults) -> dict[str, str]:
    """The verdicts on whether freezing beats fewer steps, by method."""
    found = {found.finding.setting: found.outcome for found in verdicts_on(claim(), [panel])}
    return {setting: outcome for setting, outcome in found.items() if outcome in OUTCOMES}


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
