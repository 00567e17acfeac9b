"""What the page of results says of networks from elsewhere is what the committed runs say."""

import pandas as pd

from fobench.evidence import store_savings
from fobench.evidence.results import ExperimentResults, read_results
from fobench.report.tables import Table, methods_table
from tests.docs.pages import ROOT, between
from tests.docs.test_results import NUMERALS, SHOWN
from tests.docs.test_snapshots import span

EXPERIMENTS = ("cpu-resnet18", "cpu-vit", "cpu-convnext")


def results() -> list[ExperimentResults]:
    return read_results([ROOT / "results" / name for name in EXPERIMENTS])[0]


def elsewhere_table() -> str:
    """Some columns of the reports, by experiment."""
    rows = [
        (name, *row)
        for name, found in zip(EXPERIMENTS, results(), strict=True)
        for row in methods_table(found.summary).columns(SHOWN)
    ]
    return Table(("experiment", *SHOWN), rows).markdown().rstrip()


def numbers() -> dict[str, str]:
    """The numbers in the text, by the name of their marker."""
    methods = pd.concat([found.summary for found in results()], ignore_index=True)
    is_freezing = [method.name == "freezeout" for method in methods["method"]]
    alone = methods[
        [
            freezing and not method.stores.precompute
            for freezing, method in zip(is_freezing, methods["method"], strict=True)
        ]
    ]
    whole = methods[[method.is_whole_baseline for method in methods["method"]]]
    on_line = alone[alone["fewer_steps"].notna()]
    decided = on_line[(on_line["fewer_steps_low"] > 0) | (on_line["fewer_steps_high"] < 0)]
    assert (decided["fewer_steps"] > 0).all()
    stores = pd.concat([store_savings.summary(found) for found in results()])
    return {
        "elsewhere-saved": span(alone["saved"], ".0f"),
        "elsewhere-missed": f"{(alone['saved'] - alone['profile_saved']).abs().max():.1f}",
        "elsewhere-points": span(alone["points"], ".1f"),
        "elsewhere-settings": NUMERALS[len(alone)],
        "elsewhere-on-line": NUMERALS[len(on_line)],
        "elsewhere-below": NUMERALS[(on_line["fewer_steps"] < 0).sum()],
        "elsewhere-above": span(on_line["fewer_steps"], "+.1f"),
        "elsewhere-decided": NUMERALS[len(decided)],
        "elsewhere-stored": span(stores["by_store"], "+.1f"),
        "elsewhere-store-points": f"{stores['points'].abs().max():.2f}",
        "elsewhere-baselines": span(whole["error"], ".0f"),
    }


def test_the_table_and_the_text_are_those_of_the_committed_runs():
    assert between("elsewhere:start", "elsewhere:end") == elsewhere_table()
    for name, text in numbers().items():
        assert between(name) == text, name
