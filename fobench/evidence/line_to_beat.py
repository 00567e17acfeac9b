"""The line to beat: the error that the baseline reaches in the same time, trained for fewer steps.

Its points are the baselines of all epoch shares, the whole one included: test error against time
saved, both in percent. Between neighbours in time it is linear; it ends with the share that saves
most, and is never extrapolated.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pandas as pd

from fobench.evidence.intervals import Interval, columns, mean_interval
from fobench.evidence.outcomes import PREDICTION_POINTS

Point = tuple[float, float]  # time saved, test error
SHARE_STEP = 0.05  # of the epoch shares that are proposed


class SeedPoint(NamedTuple):
    """A variant in one seed on one machine, repeats averaged; `measured` tells of its time."""

    saved: float
    error: float
    measured: bool


class Distance(NamedTuple):
    """The distance of a variant to the line in one seed; `measured` tells of its time saved."""

    points: float
    measured: bool


SeedPoints = list[dict[str, SeedPoint]]  # by variant; one for each machine


@dataclass(frozen=True)
class MeanDistance:
    """The mean distance of a variant to the line over the seeds, in points.

    In `predicted` of them the variant's time saved is predicted. What an error of the prediction
    would change widens the interval, downwards and upwards, by `slack`.
    """

    interval: Interval
    predicted: int = 0
    slack: tuple[float, float] = (0.0, 0.0)


def error_on_line(saved: float, line: Sequence[Point], start: float = 0.0) -> float:
    """The error of a line at a time saved; NaN where the line does not reach.

    What saves less than the line's `start` had more time than the whole baseline, and is compared
    with it.
    """
    ordered = sorted(line)
    saved = max(saved, start)
    if not ordered or not ordered[0][0] <= saved <= ordered[-1][0]:
        return math.nan
    return float(np.interp(saved, *zip(*ordered, strict=True)))


def against_fewer_steps(runs: pd.DataFrame, variants: pd.DataFrame) -> pd.DataFrame:
    """The distance of each variant to the line to beat, in points of test error; below 0 is better.

    Takes a `pairs.table`, and the columns `variant`, `method`, `saved`, `profile_saved`, `error` of
    its summary. Each seed is compared with the line of its own baselines on the same machine, at
    its own time saved where it is measured, else at the one that is predicted; `fewer_steps` is the
    mean over `fewer_steps_n` seeds, with `_low` and `_high`. A seed counts if it has all baselines
    and does not save more than they do. `fewer_steps_predicted` and `fewer_steps_slack` are those
    of a `MeanDistance`. `fewer_steps_beyond` is true if the variant saves more than the line, by
    the means; it then has no distance, and nor have the baselines.
    """
    line = line_of(variants)
    seeds = points_of_seeds(runs, variants)
    rows = []
    for _, row in variants.iterrows():
        on_line = row["method"].is_baseline
        found = MeanDistance(mean_interval([])) if on_line else distance_to(line, row, seeds)
        rows.append(
            {
                **columns("fewer_steps", found.interval),
                "fewer_steps_n": found.interval.n,
                "fewer_steps_predicted": found.predicted,
                "fewer_steps_slack": found.slack,
                "fewer_steps_beyond": is_beyond(line, row["saved"]),
            }
        )
    return pd.DataFrame(rows, index=variants.index)


def distance_to(line: pd.DataFrame, row: pd.Series, seeds: Sequence[SeedPoints]) -> MeanDistance:
    """The distance of a variant to a line of others over the seeds; none beyond the line's end.

    Both are rows of a summary.
    """
    if is_beyond(line, row["saved"]):
        return MeanDistance(mean_interval([]))
    found = distances(row["variant"], line, seeds)
    mean = mean_interval([each.points for each in found])
    predicted = sum(not each.measured for each in found)
    if not predicted or mean.low is None or mean.high is None:
        return MeanDistance(mean, predicted)
    down, up = changes_of(row, line)
    # By as much in all of these seeds, as the prediction is one.
    down, up = down * predicted / mean.n, up * predicted / mean.n
    wider = Interval(mean.mean, mean.low - down, mean.high + up, mean.n)
    return MeanDistance(wider, predicted, (down, up))


def changes_of(row: pd.Series, line: pd.DataFrame) -> tuple[float, float]:
    """By how much a distance may be too high and too low if its predicted time is off.

    By PREDICTION_POINTS, on a line at predicted times. At the ends of the line it is taken to be
    level.
    """
    times = [saved_if_not_measured(each) for _, each in line.iterrows()]
    points, saved = list(zip(times, line["error"], strict=True)), saved_if_not_measured(row)
    ends = [saved - PREDICTION_POINTS, saved + PREDICTION_POINTS]
    # Between its points the line is straight, so it is lowest and highest at one of these.
    places = [saved, *ends, *(each for each in times if ends[0] < each < ends[1])]
    here, *around = (
        error_on_line(float(np.clip(each, min(times), max(times))), points) for each in places
    )
    return max(0.0, *(each - here for each in around)), max(0.0, *(here - each for each in around))


def is_beyond(line: pd.DataFrame, saved: float) -> bool:
    """Whether something saves more than all of a line of at least two points."""
    return len(line) > 1 and bool(saved > line["saved"].max())


def line_of(variants: pd.DataFrame) -> pd.DataFrame:
    """The baselines of a summary whose time saved is known, by time saved; the whole saves 0."""
    whole = [method.is_whole_baseline for method in variants["method"]]
    known = variants.assign(saved=variants["saved"].mask(whole, 0.0))
    plain = known[[method.is_baseline for method in known["method"]]]
    return plain[plain["saved"].notna()].sort_values("saved", kind="stable")


def of_unknown_time(variants: pd.DataFrame) -> pd.DataFrame:
    """The baselines trained for fewer steps that the line lacks, as their time is not known."""
    methods = zip(variants["method"], variants["saved"].isna(), strict=True)
    return variants[
        [each.is_baseline and not each.is_whole_baseline and no_time for each, no_time in methods]
    ]


def saved_if_not_measured(row: pd.Series) -> float:
    """The time saved of a variant in a seed that has none, neither measured nor predicted.

    The profile's prediction for others, as their times are few; these where there is none.
    """
    if row["method"].is_whole_baseline:
        return 0.0
    return row["saved"] if math.isnan(row["profile_saved"]) else row["profile_saved"]


def points_of_seeds(runs: pd.DataFrame, variants: pd.DataFrame) -> list[SeedPoints]:
    """The points of each seed, from a `pairs.table` and its summary."""
    otherwise = {row["variant"]: saved_if_not_measured(row) for _, row in variants.iterrows()}
    columns = ["log_ratio", "test_error", "profile_saved"]
    means = runs.groupby(["seed", "machine", "variant"])[columns].mean()
    seeds: dict[int, dict[str, dict[str, SeedPoint]]] = {}
    for (seed, machine, name), (log_ratio, error, predicted) in means.iterrows():
        measured = not math.isnan(log_ratio)
        unmeasured = otherwise[name] if math.isnan(predicted) else predicted
        saved = 100 * (1 - math.exp(log_ratio)) if measured else unmeasured
        points = seeds.setdefault(seed, {}).setdefault(machine, {})
        points[name] = SeedPoint(saved, error, measured)
    return [list(machines.values()) for machines in seeds.values()]


def distances(name: str, line: pd.DataFrame, seeds: Sequence[SeedPoints]) -> list[Distance]:
    """One distance to the line for each seed that has one, the mean over its machines."""
    names, found = list(line["variant"]), []
    methods = zip(names, line["method"], strict=True)
    start = next((whole for whole, method in methods if method.epoch_share == 1), None)

    def distance(points: dict[str, SeedPoint]) -> Distance:
        here, on_line = points[name], [points[each][:2] for each in names]
        least = points[start].saved if start else 0.0
        return Distance(here.error - error_on_line(here.saved, on_line, least), here.measured)

    for machines in seeds:
        of_seed = [
            distance(points)
            for points in machines
            if len(names) > 1 and {name, *names} <= points.keys()
        ]
        of_seed = [each for each in of_seed if not math.isnan(each.points)]
        if of_seed:
            mean = math.fsum(each.points for each in of_seed) / len(of_seed)
            found.append(Distance(mean, all(each.measured for each in of_seed)))
    return found


def line_notes(variants: pd.DataFrame) -> Iterator[str]:
    """Where the line to beat ends, what to add to it, and which seeds it leaves out."""
    line = line_of(variants)
    others = variants[[not method.is_baseline for method in variants["method"]]]
    if line.empty or others.empty:
        return
    end = line.iloc[-1]
    beyond = others[others["saved"] > end["saved"]]
    if len(beyond):
        names = "; ".join(method.label() for method in beyond["method"])
        if len(line) == 1:
            yield f"there is no line to beat: {what_extends(variants, beyond['saved'].max())}"
        else:
            yield (
                f"the line to beat ends at {end['saved']:.1f} % of time saved "
                f"({end['method'].label()}): {what_extends(variants, beyond['saved'].max())} to "
                f"compare what saves more: {names}"
            )
    on_line = others[others["saved"].notna() & ~others["fewer_steps_beyond"]]
    for _, row in on_line.iterrows():
        if len(line) > 1 and row["fewer_steps_n"] < row["n"]:
            yield (
                f"against fewer steps, {row['fewer_steps_n']} of {row['n']} seeds count for "
                f"{row['method'].label()}: the others lack a share on their machine, or save more "
                "than their shortest share does"
            )


def what_extends(variants: pd.DataFrame, saved: float) -> str:
    """What to do so that the line to beat, not empty, reaches a time saved, in percent."""
    end = line_of(variants).iloc[-1]
    share = min(share_beyond(saved, end["method"].epoch_share, end["saved"]), 1 - SHARE_STEP)
    by_share = attrgetter("epoch_share")
    untimed = of_unknown_time(variants)["method"]
    shorter = [each for each in untimed if each.epoch_share < end["method"].epoch_share]
    if shorter:
        far_enough = [each for each in shorter if each.epoch_share <= share]
        # The longest that should reach as far as asked for, else what reaches farthest.
        nearest = max(far_enough or [min(shorter, key=by_share)], key=by_share)
        return f"time {nearest.label()}, or measure a profile"
    trained = {each.epoch_share for each in variants["method"] if each.is_baseline}
    return f"add a baseline with epoch_share = {next_below(share, trained):g}"


def next_below(share: float, trained: Collection[float]) -> float:
    """The largest multiple of SHARE_STEP up to `share` that was not trained.

    Half of the shortest share if all were.
    """
    steps = round(share / SHARE_STEP)
    proposed = (round(step * SHARE_STEP, 2) for step in range(steps, 0, -1))
    return next((each for each in proposed if each not in trained), min(trained) / 2)


def share_beyond(saved: float, shortest: float, end: float) -> float:
    """The largest multiple of SHARE_STEP that should save `saved` percent or more.

    Time is taken as proportional to steps, from the shortest share, which saves `end` percent.
    """
    share = shortest * (100 - saved) / (100 - end)
    # So that 0.4 is not below 8 steps of 0.05.
    return max(SHARE_STEP, round(math.floor(share / SHARE_STEP + 1e-9) * SHARE_STEP, 2))
