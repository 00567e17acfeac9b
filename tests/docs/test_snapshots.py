"""What the pages say of snapshot ensembles is what the committed runs say."""

from fobench.evidence.results import ExperimentResults, read_results
from fobench.report.ensembles_table import ensembles_table
from fobench.report.tables import AGAINST_FEWER_STEPS, Table, methods_table
from tests.docs.pages import ROOT, between

SHOWN = (
    *("method", "n (errors)", "n (times)", "time saved, %", "test error, %"),
    *("error change, points", AGAINST_FEWER_STEPS),
)
ENSEMBLES = (
    *("method", "each member, %", "all M members, %", "gain over the last, points"),
    *("evaluation FLOPs, ×", "evaluation time, ×"),
)


def results() -> ExperimentResults:
    (found,), _ = read_results([ROOT / "results" / "cpu-snapshot"])
    return found


def methods_shown() -> str:
    rows = methods_table(results().summary).columns(SHOWN)
    return Table(SHOWN, rows).markdown().rstrip()


def ensembles_shown() -> str:
    rows = ensembles_table(results()).columns(ENSEMBLES)
    return Table(ENSEMBLES, rows).markdown().rstrip()


def test_the_tables_are_those_of_the_committed_runs():
    assert between("snapshots:start", "snapshots:end") == methods_shown()
    assert between("ensembles:start", "ensembles:end") == ensembles_shown()
