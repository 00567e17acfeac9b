"""Verdicts as a table of text."""

import math
from collections.abc import Sequence

from fobench.evidence.claim import Claim
from fobench.evidence.outcomes import Margin, Measure
from fobench.evidence.verdicts import Verdict
from fobench.report.tables import MISSING, Table, number

HEADER = (
    *("claim", "verdict", "setting", "experiment", "measured", "n of times, errors", "margin"),
    *("what would decide it", "scale", "source"),
)
NO_MARGIN = "on the front"


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row per verdict."""
    return Table(HEADER, [cells(verdict) for verdict in verdicts])


def cells(verdict: Verdict) -> tuple[str, ...]:
    found, options = verdict.finding, verdict.claim.options
    tested = any((found.times, found.errors))
    return (
        *(options.statement, verdict.outcome, found.setting, verdict.experiment or MISSING),
        "; ".join(map(measured_text, found.measures)) or MISSING,
        f"{found.times}, {found.errors}" if tested else MISSING,
        *(margins_text(verdict.claim), verdict.note or MISSING),
        *(verdict.scale or MISSING, options.source),
    )


def margins_text(claim: Claim) -> str:
    """What must be true of which figures for the claim to hold."""
    margins = claim.margins.items()
    return "; ".join(f"{name}: {margin_text(each)}" for name, each in margins) or NO_MARGIN


def margin_text(margin: Margin) -> str:
    if len(margin.ends) == 2:
        return f"{margin.low:g} to {margin.high:g}"
    return f"at least {margin.low:g}" if margin.low in margin.ends else f"at most {margin.high:g}"


def measured_text(measure: Measure) -> str:
    """A figure with its interval, or with what it is based on."""
    interval = measure.interval
    ends = [number(end, measure.digits, measure.sign) for end in (interval.low, interval.high)]
    mean = f"{measure.name}: {number(interval.mean, measure.digits, measure.sign)}"
    if MISSING not in ends:
        return f"{mean} ({' to '.join(ends)})"
    known = not math.isnan(interval.mean)
    return f"{mean} ({measure.basis})" if measure.basis and known else mean
