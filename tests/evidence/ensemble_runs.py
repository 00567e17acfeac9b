"""Recorded runs of ensembles, made of other runs."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from fobench.records.runs import RunResult


def ensemble_run(
    run: RunResult,
    members: Sequence[float],
    last: Sequence[float],
    method: str = "snapshot",
    eval_seconds: float = 3.0,
    **options,
) -> RunResult:
    """The run as one of an ensemble; `members` and `last` are test errors in percent.

    `last` are those of the ensembles of the last 2, 3, … members; of 1, it is the last member's.
    """
    record = deepcopy(run.record)
    size = "cycles" if method == "snapshot" else "members"
    record["run"]["method"] = {"name": method, size: len(members), **options}
    record["ensemble"] = {
        "members": [{"test_error": error} for error in members],
        "last": [{"test_error": error} for error in (members[-1], *last)],
        "shared_units": [0] * (len(members) - 1),
        "forward_flops": 2.5,
        "eval_seconds": eval_seconds,
        "single_eval_seconds": 1.0,
    }
    *before, end = run.epochs
    return RunResult(run.id, record, [*before, replace(end, test_error=members[-1])])
