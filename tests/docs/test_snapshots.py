"""What the pages say of snapshot ensembles is what the committed runs say."""

import numpy as np

from fobench.evidence import ensembles, store_savings
from fobench.evidence.claim_tests import summary_against_control
from fobench.evidence.results import ExperimentResults, read_results
from fobench.report.ensembles_table import ensembles_table
from fobench.report.tables import AGAINST_FEWER_STEPS, Table, interval, methods_table
from tests.docs.pages import ROOT, between
from tests.docs.test_results import NUMERALS

SHOWN = (
    *("method", "n (errors)", "n (times)", "time saved, %", "test error, %"),
    *("error change, points", AGAINST_FEWER_STEPS),
)
ENSEMBLES = (
    *("method", "each member, %", "all M members, %", "gain over the last, points"),
    "against fewer steps without freezing, points",
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


def numbers() -> dict[str, str]:
    """The numbers in the text on the page of results, by the name of their marker."""
    found, tested = results(), ensembles.summary(results())
    (baseline,) = rows_of(found.summary, "baseline")
    (plain,) = rows_of(found.summary, "3 snapshots, lr 0.2")
    (members,) = rows_of(tested, "3 snapshots, lr 0.2")
    controlled = [run.id for run in found.runs if run.record.get("control")]
    (against,) = rows_of(summary_against_control(found, controlled), "3 snapshots, lr 0.2")
    freezing = [row for _, row in tested.iterrows() if row["method"].unfrozen()]
    saved = [row for _, row in found.summary.iterrows() if row["method"].unfrozen()]
    compared = [row for row in freezing if row["shorter_n"]]
    equal_work = [
        row
        for _, row in found.summary.iterrows()
        if row["method"].ensemble_size > 1
        and row["method"].epoch_share == 1
        and not row["method"].unfrozen()
    ]
    single = [row for _, row in found.summary.iterrows() if row["method"].name == "freezeout"]
    (stored,) = (row for _, row in store_savings.summary(found).iterrows())
    return {
        "snapshot-error": interval(plain, "error"),
        "snapshot-baseline": interval(baseline, "error"),
        "snapshot-points": interval(plain, "points", 1, sign=True),
        "snapshot-members": ", ".join(f"{error:.1f}" for error in members["members"]),
        "snapshot-independent": interval(against, "points", 1, sign=True),
        "frozen-saved": span([row["saved"] for row in saved], ".0f"),
        "frozen-compared": NUMERALS[len(compared)],
        "frozen-shorter": span([row["shorter"] for row in compared], "+.1f"),
        "frozen-decided": NUMERALS[sum(row["shorter_high"] < 0 for row in compared)],
        "frozen-single": span([row["fewer_steps"] for row in saved], "+.1f"),
        "frozen-better": NUMERALS[sum(row["fewer_steps_high"] < 0 for row in saved)],
        "frozen-worse": NUMERALS[sum(row["fewer_steps_low"] > 0 for row in saved)],
        "freezeout-single": span([row["fewer_steps"] for row in single], "+.1f"),
        "predicted-shorter": span(
            [at_predicted_time(row, shares_of(row, found.summary)) for row in saved], "+.1f"
        ),
        "predicted-single": span(
            [at_predicted_time(row, shares_of(baseline, found.summary)) for row in saved], "+.1f"
        ),
        "snapshot-drift": span([row["saved"] for row in equal_work], ".1f"),
        "frozen-flops": span([row["forward_flops"] for row in freezing], ".1f"),
        "snapshot-store": interval(stored, "by_store"),
        "snapshot-store-points": interval(stored, "points", 2, sign=True),
    }


def shares_of(row, variants) -> list:
    """The variants that a row is compared with: its like without freezing, of all epoch shares."""
    whole = row["method"].unfrozen() or row["method"]
    return [other for _, other in variants.iterrows() if other["method"].is_share_of(whole)]


def at_predicted_time(row, line: list) -> float:
    """The distance of a row's error to a line of others, all at the times of the profile."""
    points = sorted((other["profile_saved"], other["error"]) for other in line)
    assert points[0][0] <= row["profile_saved"] <= points[-1][0]
    return row["error"] - np.interp(row["profile_saved"], *zip(*points, strict=True))


def rows_of(table, label: str) -> list:
    return [row for _, row in table.iterrows() if row["method"].label() == label]


def span(values: list[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def test_every_ensemble_of_snapshots_did_worse_than_its_last_member():
    """As the text says."""
    tested = ensembles.summary(results())
    gains = [row["gain"] for _, row in tested.iterrows() if row["method"].name == "snapshot"]
    assert len(gains) == 10
    assert max(gains) < 0


def test_the_variant_that_beats_its_like_is_that_of_the_store():
    tested = ensembles.summary(results())
    (best,) = [row["method"] for _, row in tested.iterrows() if row["shorter_high"] < 0]
    assert best.precompute


def test_the_numbers_in_the_text_are_those_of_the_committed_runs():
    for name, text in numbers().items():
        assert between(name) == text, name
