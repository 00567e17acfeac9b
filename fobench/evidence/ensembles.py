"""Ensembles: the errors of their members, what all of them gain over the last, what they cost."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from fobench.evidence.intervals import Interval, columns, mean_interval
from fobench.evidence.line_to_beat import MeanDistance, distance_to, points_of_seeds
from fobench.evidence.results import ExperimentResults
from fobench.records.runs import RunResult


def summary(results: ExperimentResults) -> pd.DataFrame:
    """One row per variant that trains an ensemble of M members; empty without any.

    Errors are test errors in percent, means over `n` seeds, repeats averaged first:

    - `members`: the error of each member alone, in the order of training.
    - `last`: the errors of the ensembles of the last m members, for m = 2 to M - 1.
    - `last_error`, `error`: of the last member alone, and of the ensemble of all members.
    - `gain`: the former minus the latter, paired by seed.
    - `shorter`: of an ensemble whose members freeze, `error` minus that of the same ensemble
      without freezing, trained for fewer steps in the same time, over `shorter_n` seeds: as in
      `fobench.evidence.line_to_beat`; in `shorter_predicted` of them its time is predicted.

    An evaluation costs `forward_flops` and `eval_ratio` times as much as one model's, by FLOPs and
    by seconds; the latter is the mean of logs of the ratios in `timed` seeds. All but
    `members` and `last` have `_low` and `_high`.
    """
    return pd.DataFrame(list(rows(results)))


def rows(results: ExperimentResults) -> Iterator[dict[str, Any]]:
    for row, runs in results.variants():
        if row["method"].ensemble_size == 1:
            continue
        last = errors_by_seed(runs, "last")
        alone, whole = last.iloc[:, 0], last.iloc[:, -1]
        ratio = eval_ratio(results.timed(runs))
        shorter = against_shorter(results, row)
        yield {
            "method": row["method"],
            "n": len(last),
            "members": errors_by_seed(runs, "members").mean().tolist(),
            "last": last.mean().tolist()[1:-1],
            **columns("last_error", mean_interval(alone.tolist())),
            **columns("error", mean_interval(whole.tolist())),
            **columns("gain", mean_interval((alone - whole).tolist())),
            "shorter_n": shorter.interval.n,
            "shorter_predicted": shorter.predicted,
            "profile_saved": row["profile_saved"],
            **columns("shorter", shorter.interval),
            "forward_flops": row["forward_flops"],
            "timed": ratio.n,
            **columns("eval_ratio", ratio),
        }


def against_shorter(results: ExperimentResults, row: pd.Series) -> MeanDistance:
    """The distance of an ensemble, a row of a summary, to those of its kind without freezing."""
    variants, line = results.summary, unfrozen_shares(results, row["method"])
    line = line[line["saved"].notna()].sort_values("saved", kind="stable")
    return distance_to(line, row, points_of_seeds(results.table, variants))


def unfrozen_shares(results: ExperimentResults, method: Any) -> pd.DataFrame:
    """The rows of a summary of the same ensemble without freezing, of all shares of the steps."""
    variants, unfrozen = results.summary, method.unfrozen()
    return variants[[each.is_share_of(unfrozen) for each in variants["method"]]]


def shorter_notes(results: ExperimentResults) -> Iterator[str]:
    """What to add so that ensembles whose members freeze can be compared with their like."""
    found = summary(results)
    for _, row in found.iterrows():
        unfrozen = row["method"].unfrozen()
        if unfrozen is not None and not row["shorter_n"]:
            shares = unfrozen_shares(results, row["method"])
            no_times = len(shares) > 1 and shares["saved"].isna().any()
            like = unfrozen.label()
            remedy = (
                f"time {like} of all epoch_share, or measure a profile"
                if no_times
                else f"add {like} of several epoch_share, down to the time that it takes"
            )
            yield (
                f"{row['method'].label()} is not compared with the same ensemble without freezing: "
                f"{remedy}"
            )


def errors_by_seed(runs: Sequence[RunResult], part: str) -> pd.DataFrame:
    """The test errors in "members" or "last": a row for each seed, repeats averaged."""
    errors = [[each["test_error"] for each in run.ensemble[part]] for run in runs]
    return mean_by_seed(pd.DataFrame(errors), runs)


def eval_ratio(runs: Sequence[RunResult]) -> Interval:
    """Seconds of an ensemble's evaluation over those of its last member's."""
    ratios = [run.ensemble["eval_seconds"] / run.ensemble["single_eval_seconds"] for run in runs]
    logs = mean_by_seed(pd.DataFrame({"log": map(math.log, ratios)}, dtype=float), runs)
    return mean_interval(logs["log"].tolist()).map(math.exp)


def mean_by_seed(values: pd.DataFrame, runs: Sequence[RunResult]) -> pd.DataFrame:
    """A row for each seed, from a row for each run."""
    seeds = pd.Series([run.record["run"]["seed"] for run in runs], dtype=int)
    return values.groupby(seeds).mean()
