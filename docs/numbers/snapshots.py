"""Snapshot ensembles, with and without freezing."""

import pandas as pd

from docs.numbers.words import experiment, markdown, methods_of, numeral, span
from fobench.evidence import ensembles, store_savings
from fobench.evidence.claim_tests import summary_against_control
from fobench.evidence.findings import interval_of
from fobench.evidence.intervals import Interval
from fobench.methods import MethodOptions
from fobench.report.answer import with_ends
from fobench.report.ensembles_table import ensembles_table
from fobench.report.tables import interval

EXPERIMENT = "cpu-snapshot"
SINGLE_MODELS = "cpu-wideresnet"  # the same network, data and epochs
PLAIN = "5 snapshots, lr 0.2"
ENSEMBLES = (
    *("method", "each member, %", "all M members, %", "gain over the last, points"),
    *("against fewer steps without freezing, points", "evaluation FLOPs, ×"),
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
    (stored,) = (row for _, row in store_savings.summary(found).iterrows())
    return {
        "snapshots": methods_of([EXPERIMENT]),
        "ensembles": markdown(ENSEMBLES, ensembles_table(found).columns(ENSEMBLES)),
        "snapshot-error": interval(plain, "error"),
        "snapshot-baseline": interval(baseline, "error"),
        "snapshot-points": interval(plain, "points", 1, sign=True),
        "snapshot-members": ", ".join(f"{error:.1f}" for error in members["members"]),
        "snapshot-together": with_ends(together(members), sign=True),
        "snapshot-independent": interval(against, "points", 1, sign=True),
        "frozen-saved": span([row["saved"] for row in saved], ".0f"),
        "frozen-compared": numeral(len(compared)),
        "frozen-shorter": span([row["shorter"] for row in compared], "+.1f"),
        "frozen-decided": numeral(sum(row["shorter_high"] < 0 for row in compared)),
        "frozen-lost": numeral(sum(row["shorter_low"] > 0 for row in compared)),
        "frozen-single": span([row["fewer_steps"] for row in saved], "+.1f"),
        "frozen-better": numeral(sum(row["fewer_steps_high"] < 0 for row in saved)),
        "frozen-worse": numeral(sum(row["fewer_steps_low"] > 0 for row in saved)),
        "freezeout-single": span([row["fewer_steps"] for row in single_models()], "+.1f"),
        "frozen-flops": span([row["forward_flops"] for row in freezing], ".1f"),
        "snapshot-store": f"{saved_by_store(found.summary, stored['method']):.1f}",
        "snapshot-store-points": interval(stored, "points", 2, sign=True),
    }


def together(members: pd.Series) -> Interval:
    """The error of all members minus that of the last one."""
    gain = interval_of(members, "gain", members["n"])
    return gain.map(lambda points: -points)


def single_models() -> list[pd.Series]:
    """FreezeOut as the ensembles freeze: cubic, scaled rates, fresh augmentation, no store."""
    rows = [row for _, row in experiment(SINGLE_MODELS).summary.iterrows()]
    frozen = [row for row in rows if row["method"].slug() in LIKE_THEM]
    assert len(frozen) == len(LIKE_THEM)
    return frozen


LIKE_THEM = ("freezeout-cubic-scaled-t0.50", "freezeout-cubic-scaled-t0.80")


def saved_by_store(summary: pd.DataFrame, method: MethodOptions) -> float:
    """Points of time that the profile predicts a store to save."""
    named = dict(zip(summary["method"], summary["profile_saved"], strict=True))
    return named[method] - named[method.stores.without_store()]


def rows_of(table: pd.DataFrame, label: str) -> list[pd.Series]:
    return [row for _, row in table.iterrows() if row["method"].label() == label]
