"""The report shows an ensemble's members, and takes no ensemble for evidence of freezing."""

from collections.abc import Sequence

import pytest

from fobench.evidence.results import ExperimentResults, read_results, results_of
from fobench.records.runs import RunResult
from fobench.report import explanations
from fobench.report.answer import answer, chosen_setting
from fobench.report.contents import contents
from fobench.report.ensembles_table import HEADER, ensembles_table
from fobench.report.html import page
from fobench.report.report import report
from fobench.report.tables import control_table, methods_table
from tests.evidence.ensemble_runs import ensemble_run
from tests.report.page import parsed

MEMBERS, LAST = (80, 70.25, 60), (58, 56.5)


@pytest.fixture
def single(tiny_results) -> ExperimentResults:
    """The tiny results; of their methods only t0 = 0.3 freezes anything."""
    (panel,), _ = read_results([tiny_results])
    return panel


def with_ensembles(results: ExperimentResults, *parts: str) -> ExperimentResults:
    """The results, but the runs of these parts of ids are of three snapshots that freeze."""
    changed: Sequence[RunResult] = [
        ensemble_run(run, MEMBERS, LAST, scaling="linear", t0=0.3)
        if any(part in run.id for part in parts)
        else run
        for run in results.runs
    ]
    return results_of(results.folder, list(changed))


def headings(results: ExperimentResults) -> list[str]:
    (section,) = contents([results], []).sections
    return [part.heading for part in section.parts]


def test_a_part_on_ensembles_is_behind_the_methods_where_there_are_any(single):
    assert "Ensembles" not in headings(single)
    assert ensembles_table(single) is None
    assert headings(with_ensembles(single, "t0.30"))[:2] == ["Methods", "Ensembles"]


def test_the_row_of_an_ensemble(single):
    results = with_ensembles(single, "t0.30")
    (row,) = ensembles_table(results).rows
    assert dict(zip(HEADER, row, strict=True)) == {
        "method": "3 snapshots, lr 0.2, FreezeOut linear, scaled rates, t0 = 0.3",
        "n (errors)": "1",
        "each member, %": "80.0, 70.2, 60.0",
        "last member alone, %": "60.0",
        "all M members, %": "56.5",
        "gain over the last, points": "+3.5",
        "last 2 to M − 1 members, %": "58.0",
        "against fewer steps without freezing, points": "–",
        "evaluation FLOPs, ×": "2.50",
        "evaluation time, ×": "3.00",
    }
    rows = methods_table(results.summary).columns(["method", "test error, %"])
    assert [row[0], "56.5"] in rows, "of all members, in the other tables, too"


def test_two_members_leave_none_between_the_last_and_all(single):
    run = next(run for run in single.runs if "t0.30" in run.id)
    pair = results_of(single.folder, [ensemble_run(run, (50, 40), (38,))])
    ((between,),) = ensembles_table(pair).columns(["last 2 to M − 1 members, %"])
    assert between == "–"


def test_the_evaluations_time_has_its_n_where_not_all_seeds_are_timed(single):
    results = with_ensembles(single, "t0.30", "t1.00")
    other = next(run for run in results.runs if "t1.00" in run.id)
    other.record["run"]["seed"] = 1
    other.record["timed"] = False
    results = results_of(results.folder, results.runs)
    ((time, errors),) = ensembles_table(results).columns(["evaluation time, ×", "n (errors)"])
    assert (time, errors) == ("3.00, n = 1", "2")


def test_both_forms_hold_the_table_and_its_meaning(single):
    results = with_ensembles(single, "t0.30")
    text = report([results], [])
    assert "### Ensembles" in text
    assert "| 80.0, 70.2, 60.0 | 60.0 | 56.5 | +3.5 | 58.0 | – | 2.50 | 3.00 |" in text
    document = parsed(page([results], []))
    captions = [each.one("caption").text for each in document.all("table")]
    assert "Ensembles of tiny" in captions
    assert explanations.ENSEMBLES in [each.text for each in document.all("p")]


def test_an_ensemble_that_freezes_does_not_answer_whether_freezing_pays_off(single):
    """The only method that freezes anything."""
    results = with_ensembles(single, "t0.30")
    assert chosen_setting(results) is None
    found = answer(results)
    assert found.kind == "not known"
    assert found.sentence == "Not known: only ensembles freeze here."


def test_the_answer_is_that_of_a_single_model_beside_ensembles(single):
    """Though the ensemble stands first."""
    frozen = next(run for run in single.runs if "t0.30" in run.id)
    first = ensemble_run(frozen, MEMBERS, LAST, scaling="linear", t0=0.3)
    found = chosen_setting(results_of(single.folder, [first, *single.runs]))
    assert found.label == "FreezeOut linear, scaled rates, t0 = 0.3"
    assert found.why == "the only single model that freezes"
    assert chosen_setting(single).why == "the only one that freezes"


def test_a_control_is_named_beside_what_it_is_compared_with(single):
    """And what has none in the results has no row."""
    frozen, control = (
        next(run for run in single.runs if part in run.id) for part in ("t0.30", "t1.00")
    )
    first = ensemble_run(frozen, MEMBERS, LAST, scaling="linear", t0=0.3)
    second = ensemble_run(control, (70, 62, 61), (60, 59.5), method="ensemble")
    first.record["control"] = second.id
    baseline = next(run for run in single.runs if run.id == run.record["baseline"])
    baseline.record["control"] = "not-there"
    table = control_table(results_of(single.folder, [baseline, first, second]))
    names, shown = ("method", "control", "test error, %", "error change, points"), []
    for row in table.columns(names):
        shown.append(tuple(row))
    label = "3 snapshots, lr 0.2, FreezeOut linear, scaled rates, t0 = 0.3"
    assert shown == [(label, "ensemble of 3 independent models", "56.5", "-3.0")]
    assert "Pareto" not in table.header
    assert control_table(results_of(single.folder, [baseline, first])) is None
