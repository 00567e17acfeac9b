"""Freezing and training for fewer steps: the experiments of fifty epochs."""

from docs.numbers.words import METHODS, experiment, markdown, numeral
from fobench.evidence.claim import Claim
from fobench.evidence.claims import read_claims
from fobench.evidence.outcomes import FAILS, HOLDS, UNDECIDED
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import verdicts_on
from fobench.report.tables import AGAINST_FEWER_STEPS, methods_table, number, predictions_table

EXPERIMENTS = ("cpu-wideresnet",)
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
    return {
        "answers": markdown(ANSWERS, in_short),
        "fifty": markdown(("experiment", *METHODS, VERDICT), rows),
        "fifty-predicted": predictions_table(panels[EXPERIMENTS[0]]).markdown().rstrip(),
        "fifty-seeds": str(panels[EXPERIMENTS[0]].table["seed"].nunique()),
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
    times = [
        (f"{number(row['saved'])}, n = {row['pairs']}", number(row["profile_saved"]))
        for _, row in panel.summary.iterrows()
    ]
    return [
        (network, method, *saved, *cells, outcomes[method])
        for saved, (method, *cells) in zip(times, rows, strict=True)
        if method in outcomes
    ]


def outcomes_of(panel: ExperimentResults) -> dict[str, str]:
    """The verdicts on whether freezing beats fewer steps, by method."""
    found = {each.finding.setting: each.outcome for each in verdicts_on(claim(), [panel])}
    return {setting: outcome for setting, outcome in found.items() if outcome in OUTCOMES}


def claim() -> Claim:
    (found,) = (each for each in read_claims() if each.options.id == BEATS)
    return found
