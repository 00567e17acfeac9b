"""The answer for an experiment: did freezing pay off, by one setting and three numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from fobench.evidence.chosen import validation_errors
from fobench.evidence.findings import interval_of
from fobench.evidence.intervals import Interval
from fobench.evidence.line_to_beat import of_unknown_time
from fobench.evidence.outcomes import PREDICTION_POINTS
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import name_of
from fobench.records.runs import RunResult
from fobench.report.tables import Table, number

# The setting that the paper recommends: fixed before anything was trained. Its part of run ids.
CHOSEN_BEFOREHAND = "freezeout-cubic-scaled-t0.80"
ANSWERS_HEADER = (
    *("experiment", "setting", "time saved, %", "n of times", "error change, points"),
    *("n of errors", "against fewer steps, points", "n of distances", "does freezing pay off?"),
)
UNKNOWN = Interval(math.nan, None, None, 0)

Kind = Literal["paid off", "did not pay off", "undecided", "not known"]


@dataclass(frozen=True)
class ChosenSetting:
    """The variant that an experiment is judged by, and why it is this one."""

    variant: pd.Series
    why: str

    @property
    def label(self) -> str:
        return self.variant["method"].label()


@dataclass(frozen=True)
class Numbers:
    """The three numbers: time saved in percent, changes of the test error in points.

    `points` compares with the baseline, `fewer_steps` with what the baseline reaches in the same
    time, by the line through the baselines trained for fewer steps. `beyond`: more time is saved
    than by the shortest of these, so the line ends before it.
    """

    saved: Interval
    points: Interval
    fewer_steps: Interval
    beyond: bool = False
    predicted: bool = False  # the time saved, by a profile

    def shown(self) -> list["Shown"]:
        """The numbers, as the first screen of a page shows them."""
        source = "predicted by a profile" if self.predicted else f"n = {self.saved.n} of times"
        return [
            Shown("Time saved", self.saved, "%", source, "of the baseline's time"),
            Shown(
                *("Error change", self.points, "points", f"n = {self.points.n} of errors"),
                "against the baseline",
            ),
            Shown(
                *("Against fewer steps", self.fewer_steps, "points", f"n = {self.fewer_steps.n}"),
                "below 0, freezing pays off",
            ),
        ]


@dataclass(frozen=True)
class Shown:
    """A number with its interval, on how many seeds it rests, and its meaning."""

    name: str
    interval: Interval
    unit: str
    count: str
    meaning: str

    @property
    def value(self) -> str:
        return number(self.interval.mean, sign=self.unit == "points")

    @property
    def ends(self) -> str:
        """Empty without an interval."""
        _, _, ends = with_ends(self.interval, sign=self.unit == "points").partition(" ")
        return ends


@dataclass(frozen=True)
class Answer:
    """Of an experiment; `setting` is None if nothing freezes in it."""

    experiment: str
    setting: ChosenSetting | None
    numbers: Numbers
    kind: Kind
    sentence: str


def answer(results: ExperimentResults) -> Answer:
    name = name_of(results)
    setting = chosen_setting(results)
    if setting is None:
        nothing = Numbers(UNKNOWN, UNKNOWN, UNKNOWN)
        some = any(freezes(*each) for each in results.variants())
        sentence = f"Not known: {'only ensembles freeze' if some else 'nothing freezes'} here."
        return Answer(name, None, nothing, "not known", sentence)
    numbers = numbers_of(setting.variant)
    kind, sentence = judge(numbers, why_no_line(results.summary))
    if numbers.predicted and kind != "not known":
        sentence += " The time is predicted, not measured."
    return Answer(name, setting, numbers, kind, sentence)


def chosen_setting(results: ExperimentResults) -> ChosenSetting | None:
    """The setting fixed beforehand, else the one of the lowest validation error; never by test.

    Ensembles are left out: what they gain over one model of the same time is not due to freezing.
    """
    whatever_freezes = [each for each in results.variants() if freezes(*each)]
    freezing = [(row, runs) for row, runs in whatever_freezes if row["method"].ensemble_size == 1]
    among_ensembles = len(freezing) < len(whatever_freezes)
    one, several = ("single model", " single models") if among_ensembles else ("one", "")
    for row, _ in freezing:
        if row["method"].slug() == CHOSEN_BEFOREHAND:
            return ChosenSetting(row, "chosen beforehand, as the paper recommends it")
    if not freezing:
        return None
    if len(freezing) == 1:
        return ChosenSetting(freezing[0][0], f"the only {one} that freezes")
    errors = validation_errors([runs for _, runs in freezing])
    if any(map(math.isnan, errors)):
        return ChosenSetting(
            freezing[0][0],
            f"the first {one} that freezes, as no validation error is known in common seeds",
        )
    return ChosenSetting(
        freezing[errors.index(min(errors))][0],
        f"of {len(freezing)}{several} that freeze, the one of the lowest validation error in the "
        "end",
    )


def freezes(variant: pd.Series, runs: Sequence[RunResult]) -> bool:
    """Whether any unit was frozen while its runs trained."""
    return not variant["method"].is_baseline and any(run.epochs[-1].frozen_units for run in runs)


def why_no_line(variants: pd.DataFrame) -> str:
    """Why a summary has no line to beat; empty if it has one."""
    methods = variants["method"]
    shorter = sum(method.is_baseline and not method.is_whole_baseline for method in methods)
    if not shorter:
        return "no baseline was trained for fewer steps"
    if len(of_unknown_time(variants)) == shorter:
        return "the time of the baselines trained for fewer steps is not known"
    return ""


def numbers_of(variant: pd.Series) -> Numbers:
    """The three numbers of a row of a summary."""
    return Numbers(
        interval_of(variant, "saved", variant["pairs"]),
        interval_of(variant, "points", variant["error_pairs"]),
        interval_of(variant, "fewer_steps", variant["fewer_steps_n"]),
        bool(variant["fewer_steps_beyond"]),
        bool(variant["predicted"]),
    )


def judge(numbers: Numbers, no_line: str = "") -> tuple[Kind, str]:
    """The answer, and one sentence that gives it; `no_line` is why there is no line to beat."""
    saved, distance = numbers.saved, numbers.fewer_steps
    if math.isnan(saved.mean):
        return "not known", "Not known: the time saved was neither measured nor predicted."
    highest = saved.mean + PREDICTION_POINTS if numbers.predicted else saved.high
    if highest is not None and highest <= 0:
        return "did not pay off", "Freezing did not pay off here: it saved no time."
    if saved.mean <= 0 and not (distance.low is not None and distance.low > 0):
        at_n = f" at n = {saved.n}" if saved.n else ""
        return "undecided", (
            f"Undecided{at_n}: the time saved, {with_ends(saved)} %, is not told apart from none."
        )
    if no_line:
        return "not known", f"Not known: {no_line}."
    if numbers.beyond:
        return "not known", (
            f"Not known: freezing {'should save' if numbers.predicted else 'saved'} "
            f"{number(saved.mean)} % of the time, more than the shortest baseline, so there is "
            "nothing to compare it with."
        )
    if math.isnan(distance.mean):
        return "not known", (
            "Not known: every seed lacks a share of the baseline on its machine, or saves more "
            "than its shortest share does."
        )
    return compare(distance)


def compare(distance: Interval) -> tuple[Kind, str]:
    """By the distance to the line: an interval wholly on one side of it decides."""
    if distance.low is not None and distance.high is not None:
        if distance.high < 0:
            below = distance.map(lambda points: -points)
            return "paid off", (
                f"Freezing paid off here: its test error is {with_ends(below)} points below that "
                f"of the baseline trained for fewer steps in the same time (n = {distance.n})."
            )
        if distance.low > 0:
            return "did not pay off", (
                "Freezing did not pay off here: the baseline trained for fewer steps reached a "
                f"lower error in the same time, by {with_ends(distance)} points "
                f"(n = {distance.n})."
            )
    alone = "; a single seed has no interval" if distance.n == 1 else ""
    return "undecided", (
        f"Undecided at n = {distance.n}: the test error minus that of the baseline trained for "
        f"fewer steps in the same time is {with_ends(distance, sign=True)} points{alone}."
    )


def with_ends(interval: Interval, sign: bool = False) -> str:
    """A mean and its interval, where there is one."""
    mean = number(interval.mean, sign=sign)
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} ({number(interval.low, sign=sign)} to {number(interval.high, sign=sign)})"


def answers_table(answers: Sequence[Answer]) -> Table:
    """The setting, the three numbers and the sentence of each experiment."""
    rows = []
    for each in answers:
        numbers = each.numbers
        rows.append(
            (
                each.experiment,
                each.setting.label if each.setting else "none",
                with_ends(numbers.saved) + " (predicted)" * numbers.predicted,
                str(numbers.saved.n),
                *(with_ends(numbers.points, sign=True), str(numbers.points.n)),
                *(with_ends(numbers.fewer_steps, sign=True), str(numbers.fewer_steps.n)),
                each.sentence,
            )
        )
    return Table(ANSWERS_HEADER, rows)
