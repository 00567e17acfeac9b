"""What claims are tested by: each test finds its figures in the results of an experiment.

To add one: a function of a claim and results that yields a Finding for each setting, and a line in
TESTS. Whether figures lie inside a claim's margins is judged in `fobench.evidence.outcomes`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from fobench.evidence import store_savings
from fobench.evidence.chosen import choose
from fobench.evidence.claim import Claim
from fobench.evidence.findings import (
    TIME_SAVED,
    TIMED_RUNS,
    Finding,
    finding,
    interval_of,
    not_tested,
    points,
    predicted,
    time_saved,
)
from fobench.evidence.front import beside_others
from fobench.evidence.half_frozen import LEAST, MOST, epoch_ratios, profile_ratios
from fobench.evidence.intervals import mean_interval
from fobench.evidence.line_to_beat import is_beyond, line_of, points_of_seeds, what_extends
from fobench.evidence.outcomes import PREDICTION_POINTS, Measure
from fobench.evidence.pairs import table
from fobench.evidence.results import ExperimentResults
from fobench.evidence.summary import summary
from fobench.experiment.setting import Setting
from fobench.records.runs import RunResult

Variant = tuple[pd.Series, list[RunResult]]
ERROR_CHANGE = {"points": "error change, points", "percent": "error change, %"}
# The columns of a summary with the change of the error and its n.
ERROR_COLUMNS = {
    "points": ("points", "error_pairs"),
    "percent": ("relative", "relative_pairs"),
}
AGAINST_FEWER_STEPS = "against fewer steps, points"
SAVED_BY_STORE = "saved by the store, points of time"
NO_BASELINE = "needs the baseline on the same machine, or a profile"
NO_TIMES = "needs timed runs, or a profile"
TIME_OF_NONE_FROZEN = "time, of that with none frozen"


@dataclass(frozen=True)
class ClaimTest:
    """A test, and what a claim must and may say for it.

    `margins` are the names of its figures, of "time" and "error", for which a claim sets margins;
    `needed` are the settings that it must give, `optional` those that it may. `in_percent` is
    whether it can give the change of the error in percent too, `chooses` whether a setting can be
    chosen by validation error. `runs` says what to train for it, besides the settings; `fits` why a
    setting can never be tested, if it cannot.
    """

    find: Callable[[Claim, ExperimentResults], Iterator[Finding]]
    runs: str
    margins: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    in_percent: bool = False
    chooses: bool = False
    fits: Callable[[Setting], str] = lambda _: ""


def saving(claim: Claim, results: ExperimentResults) -> Iterator[Finding]:
    """Time saved and change of the error against the baseline."""
    variants = matching(claim, results)
    if not claim.chosen_by_validation:
        for row, _ in variants:
            label = row["method"].label()
            if row["error_pairs"] or not math.isnan(row["saved"]):
                yield saving_of(claim, row, label)
            else:
                yield not_tested(label, NO_BASELINE)
    elif variants:
        yield chosen_saving(claim, variants)


def chosen_saving(claim: Claim, variants: Sequence[Variant]) -> Finding:
    """The saving of the setting chosen by its validation error."""
    label = f"{claim.setting.label()}; chosen by validation error"
    known = [each for each in variants if not math.isnan(each[0]["saved"])]
    if not known:
        return not_tested(label, what_times_need([row for row, _ in variants]))
    place = choose([row["saved"] for row, _ in known], [runs for _, runs in known], claim.time)
    if place is None:
        return not_tested(label, "needs held-out images: set data.validation; and common seeds")
    row = known[place][0]
    return saving_of(claim, row, f"{row['method'].label()}; chosen by validation error")


def what_times_need(rows: Sequence[pd.Series]) -> str:
    """What to train if no time saved is known of any of some rows of a summary."""
    return NO_TIMES if any(row["error_pairs"] for row in rows) else NO_BASELINE


def saving_of(claim: Claim, row: pd.Series, label: str) -> Finding:
    """The finding of a summary's row."""
    unit = claim.options.error_in
    column, n = ERROR_COLUMNS[unit]
    change = interval_of(row, column, row[n])
    error = points(ERROR_CHANGE[unit], change, claim.error)
    return finding(label, time_saved(row, claim.time), error)


def control(claim: Claim, results: ExperimentResults) -> Iterator[Finding]:
    """The same as `saving`, against a method's own control."""
    variants = matching(claim, results)
    controlled = [run.id for _, runs in variants for run in runs if run.record.get("control")]
    if not controlled:
        return
    for _, row in summary_against_control(results, controlled).iterrows():
        label = f"{row['method'].label()}, against its control"
        if row["error_pairs"]:
            yield saving_of(claim, row, label)
        else:
            yield not_tested(label, "needs its control on the same machine")


def summary_against_control(results: ExperimentResults, ids: Sequence[str]) -> pd.DataFrame:
    """The summary of these runs, against their own control in place of the baseline."""
    paired = table(results.runs, results.include_resumed, against="control")
    # The time saved against the control is not what was predicted.
    paired["profile_saved"] = math.nan
    return summary(paired[paired["id"].isin(ids)])


def fewer_steps(claim: Claim, results: ExperimentResults) -> Iterator[Finding]:
    """The distance of methods that freeze to the line to beat.

    Ensembles are left out: what they gain over one model of the same time is not due to freezing.
    """
    for row, runs in matching(claim, results):
        frozen = any(epoch.frozen_units for run in runs for epoch in run.epochs)
        if not frozen or row["method"].ensemble_size > 1:
            continue
        label = row["method"].label()
        if not row["fewer_steps_n"]:
            yield not_tested(label, line_note(row, results), time_saved(row))
            continue
        distance = interval_of(row, "fewer_steps", row["fewer_steps_n"])
        if row["saved"] <= 0 and distance.mean < 0:
            yield not_tested(label, "saves no time: no baseline took as long", time_saved(row))
            continue
        error = points(AGAINST_FEWER_STEPS, distance, claim.error)
        error = replace(error, slack=row["fewer_steps_slack"], needs=TIMED_RUNS)
        yield finding(label, time_saved(row), error)


def line_note(row: pd.Series, results: ExperimentResults) -> str:
    """What to train so that a method can be compared with the line to beat."""
    line, saved = line_of(results.summary), row["saved"]
    if math.isnan(saved) or line.empty:
        return what_times_need([row])
    extend = what_extends(results.summary, saved)
    if len(line) == 1:
        return f"there is no line to beat: {extend}"
    if is_beyond(line, saved):
        return f"the line to beat ends at {line['saved'].max():.1f} % of time saved: {extend}"
    seeds = points_of_seeds(results.table, results.summary)
    names = {row["variant"], *line["variant"]}
    if any(names <= points.keys() for machines in seeds for points in machines):
        return f"in each seed the line to beat ends before: {extend}, with all seeds"
    return "no seed has it and all shares of the baseline on one machine: train what is missing"


def front(claim: Claim, results: ExperimentResults) -> Iterator[Finding]:
    """A setting beside others, none of which is both faster and more accurate."""
    rows = [row for row, _ in results.variants()]
    for row, _ in matching(claim, results):
        others = [
            other
            for other in rows
            if claim.others.includes(other["method"]) and other["variant"] != row["variant"]
        ]
        if others:
            yield beside_others(results.table, row, others)


def stores(claim: Claim, results: ExperimentResults) -> Iterator[Finding]:
    """Time saved and change of the error by stores, against the same inputs without one."""
    for _, row in store_savings.summary(results).iterrows():
        if claim.setting is not None and not claim.setting.includes(row["method"]):
            continue
        label = row["method"].label()
        if not row["n"]:
            yield not_tested(label, "needs its baseline and precompute = false, on one machine")
            continue
        saved = Measure(SAVED_BY_STORE, interval_of(row, "by_store", row["timed"]), claim.time)
        if not row["timed"]:
            saved = predicted(saved, store_savings.predicted(row["method"], results))
        change = interval_of(row, "points", row["n"])
        yield finding(label, saved, points(ERROR_CHANGE["points"], change, claim.error))


def half(claim: Claim, results: ExperimentResults) -> Iterator[Finding]:
    """The time of a step with half of the units frozen, as a share of one with none.

    Profiles are of different machines, so each is judged for itself; without any, epochs are.
    """
    units, profiles = len(results.runs[0].record["units"]), profile_ratios(results)
    for file, ratio in profiles.items():
        which = f", {file}" if len(profiles) > 1 else ""
        yield finding(
            f"{units // 2} of {units} units frozen{which}", of_profile(ratio, claim), None
        )
    if profiles:
        return
    ratio = epoch_ratios(results)
    if ratio.n:
        setting = f"epochs with {100 * LEAST:g} to {100 * MOST:g} % of {units} units frozen"
        yield finding(setting, Measure(TIME_OF_NONE_FROZEN, ratio, claim.time, digits=2), None)


def of_profile(ratio: float, claim: Claim) -> Measure:
    """A ratio of a profile's step times, beside the claim's margin."""
    accuracy = PREDICTION_POINTS / 100
    return Measure(
        TIME_OF_NONE_FROZEN,
        mean_interval([ratio]),
        claim.time,
        basis="from a profile",
        accuracy=accuracy,
        needs=f"no profile, as they are accurate to {accuracy:g}",
        digits=3,
    )


def matching(claim: Claim, results: ExperimentResults) -> list[Variant]:
    """The variants that the claim's setting includes; all without one."""
    setting = claim.setting
    return [
        each
        for each in results.variants()
        if setting is None or setting.includes(each[0]["method"])
    ]


def must_freeze(setting: Setting) -> str:
    if setting.method.ensemble_size > 1:
        return (
            "give a method that trains one model, as what an ensemble gains is not due to freezing"
        )
    return "give a method that freezes" if setting.method.is_baseline else ""


def must_store(setting: Setting) -> str:
    stores = setting.method.stores.precompute or "precompute" in setting.free
    return "" if stores else "give precompute = true, as it is about stores"


TESTS: dict[str, ClaimTest] = {
    "saving": ClaimTest(
        saving,
        "and the baseline",
        {"time": TIME_SAVED, "error": ERROR_CHANGE["points"]},
        needed=("setting",),
        in_percent=True,
        chooses=True,
    ),
    "control": ClaimTest(
        control,
        "and its own control",
        {"time": TIME_SAVED, "error": ERROR_CHANGE["points"]},
        needed=("setting",),
        in_percent=True,
    ),
    "fewer steps": ClaimTest(
        fewer_steps,
        "and baselines of several epoch_share",
        {"error": AGAINST_FEWER_STEPS},
        optional=("setting",),
        fits=must_freeze,
    ),
    "front": ClaimTest(front, "and the others", needed=("setting", "others")),
    "stores": ClaimTest(
        stores,
        "with precompute = [false, true], and the baseline",
        {"time": SAVED_BY_STORE, "error": ERROR_CHANGE["points"]},
        optional=("setting",),
        fits=must_store,
    ),
    "half frozen": ClaimTest(
        half, "and the baseline, or measure a profile", {"time": TIME_OF_NONE_FROZEN}
    ),
}
