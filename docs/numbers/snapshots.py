"""Snapshot ensembles, with and without freezing."""

import numpy as np
import pandas as pd

from docs.numbers.words import experiment, markdown, methods_of, numeral, span
from fobench.evidence import ensembles, store_savings
from fobench.evidence.claim_tests import summary_against_control
from fobench.report.ensembles_table import ensembles_table
from fobench.report.tables import interval

EXPERIMENT = "cpu-snapshot"
PLAIN = "3 snapshots, lr 0.2"
ENSEMBLES = (
    *("method", "each member, %", "all M members, %", "gain over the last, points"),
    "against fewer steps without freezing, points",
    *("evaluation FLOPs, ×", "evaluation time, ×"),
)


def shown() -> dict[str, str]:
    found = experiment(EXPERIMENT)
    tested = ensembles.summary(found)
    (baseline,) = rows_of(found.summary, "baseline")
    (plain,) = rows_of(found.summary, PLAIN)
    (members,) = rows_of(tested, PLAIN)
    controlled = [run.id for run in found.runs if run.record.get("control")]
    (against,) = rows_of(summary_against_control(found, controlled), PLAIN)
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
        "snapshots": methods_of([EXPERIMENT]),
        "ensembles": markdown(ENSEMBLES, ensembles_table(found).columns(ENSEMBLES)),
        "snapshot-error": interval(plain, "error"),
        "snapshot-baseline": interval(baseline, "error"),
        "snapshot-points": interval(plain, "points", 1, sign=True),
        "snapshot-members": ", ".join(f"{error:.1f}" for error in members["members"]),
        "snapshot-independent": interval(against, "points", 1, sign=True),
        "frozen-saved": span([row["saved"] for row in saved], ".0f"),
        "frozen-compared": numeral(len(compared)),
        "frozen-shorter": span([row["shorter"] for row in compared], "+.1f"),
        "frozen-decided": numeral(sum(row["shorter_high"] < 0 for row in compared)),
        "frozen-single": span([row["fewer_steps"] for row in saved], "+.1f"),
        "frozen-better": numeral(sum(row["fewer_steps_high"] < 0 for row in saved)),
        "frozen-worse": numeral(sum(row["fewer_steps_low"] > 0 for row in saved)),
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


def shares_of(row: pd.Series, variants: pd.DataFrame) -> list[pd.Series]:
    """The variants that a row is compared with: its like without freezing, of all epoch shares."""
    whole = row["method"].unfrozen() or row["method"]
    return [other for _, other in variants.iterrows() if other["method"].is_share_of(whole)]


def at_predicted_time(row: pd.Series, line: list[pd.Series]) -> float:
    """The distance of a row's error to a line of others, all at the times of the profile."""
    points = sorted((other["profile_saved"], other["error"]) for other in line)
    assert points[0][0] <= row["profile_saved"] <= points[-1][0]
    return row["error"] - np.interp(row["profile_saved"], *zip(*points, strict=True))


def rows_of(table: pd.DataFrame, label: str) -> list[pd.Series]:
    return [row for _, row in table.iterrows() if row["method"].label() == label]
