"""The time that FreezeOut saves at the paper's scale, from measured step times.

A run of T steps with n_d of them at depth d takes Σ n_d·τ(d), and for each depth the capture of its
step and a step that is not captured. With stores, τ(d) is the time of a step that starts from
stored activations; building and reading stores is left out.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np
from sizes import FULL, SMALL

from fobench.freezing import schedule

IMAGES, EPOCHS, BATCH = 45_000, 100, 50
TOTAL_STEPS = schedule.total_steps(IMAGES, BATCH, EPOCHS)
T0S = (0.5, 0.6, 0.7, 0.8, 0.9)
SCALINGS = ("linear", "cubic")
WHOLE = ("start", "middle", "end")
Row = dict[str, str]


@dataclass(frozen=True)
class Measured:
    """A network's seconds by depth: of a step, and of what the change to that depth adds.

    `stored` and `stored_changes` are those of steps that start from stored activations; None if too
    few depths were measured. `whole` are the times of a step with nothing frozen, in order.
    """

    network: str
    rows: tuple[Row, ...]
    steps: tuple[float, ...]
    changes: tuple[float, ...]
    stored: tuple[float, ...] | None
    stored_changes: tuple[float, ...] | None
    whole: tuple[float, ...]


def counts(units: int, scaling: str, t0: float, total_steps: int) -> list[int]:
    """The steps of a run at each depth, from 0 to that at which only the head trains."""
    times = schedule.freeze_times(units, t0, scaling)
    ends = schedule.freeze_steps(times, total_steps)
    return [end - start for start, end in pairwise([0, *ends])]


def saved_percent(
    steps: Sequence[float], changes: Sequence[float], taken: Sequence[int], baseline: float
) -> float:
    """Time saved by a run that takes so many steps at each depth, given the baseline's seconds."""
    seconds = sum(
        number * step + change
        for number, step, change in zip(taken, steps, changes, strict=True)
        if number
    )
    return 100 * (1 - seconds / baseline)


def baseline_seconds(measured: Measured, total_steps: int) -> float:
    return total_steps * measured.steps[0] + measured.changes[0]


def measured_networks(rows: Sequence[Row]) -> list[Measured]:
    """The networks whose steps were timed up to the last depth, as graphs if any were."""
    rows = [row for row in rows if row["series"] in ("depths", *WHOLE)]
    networks = dict.fromkeys(row["network"] for row in rows)
    found = []
    for network in networks:
        here = [row for row in rows if row["network"] == network]
        graphs = [row for row in here if row["mode"] == "graph"]
        measured = measured_network(network, graphs or here)
        if measured is None:
            print(f"{network} is left out: it was not timed at its last depth", file=sys.stderr)
        else:
            found.append(measured)
    return found


def measured_network(network: str, rows: Sequence[Row]) -> Measured | None:
    units = int(rows[0]["units"])
    pixels = by_depth([row for row in rows if row["start"] == "0"], units)
    at_the_cut = [row for row in rows if row["start"] == row["frozen"]]
    stored = by_depth(at_the_cut, units)
    if pixels is None:
        return None
    return Measured(
        network,
        tuple(rows),
        *pixels,
        *(stored or (None, None)),
        whole=tuple(seconds_of(row) for row in rows if row["series"] in WHOLE),
    )


def by_depth(rows: Sequence[Row], units: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Seconds of a step and of a change, at every depth; between those measured, interpolated.

    None unless the first and the last depth are among these.
    """
    steps: dict[int, list[float]] = {}
    changes: dict[int, list[float]] = {}
    for row in rows:
        depth = int(row["frozen"])
        steps.setdefault(depth, []).append(seconds_of(row))
        if row["first_seconds"]:
            changes.setdefault(depth, []).append(change_seconds(row))
    if not {0, units - 1} <= steps.keys():
        return None
    return at_every_depth(steps, units), at_every_depth(changes, units)


def at_every_depth(values: dict[int, list[float]], units: int) -> tuple[float, ...]:
    known = sorted(values)
    medians = [median(values[depth]) for depth in known]
    return tuple(map(float, np.interp(range(units), known, medians)))


def seconds_of(row: Row) -> float:
    return float(row["milliseconds"]) / 1000


def change_seconds(row: Row) -> float:
    """What the first two steps at a depth take longer than two later ones; 0 without graphs."""
    if not row["capture_seconds"]:
        return 0.0
    return float(row["capture_seconds"]) + float(row["first_seconds"]) - seconds_of(row)


def flops_saved_percent(network: str, scaling: str, t0: float) -> float | None:
    """As `run.json` predicts it; None for a network that is not known here."""
    from fobench.costs.flops import run_flops, step_flops
    from fobench.costs.unit_costs import costs_of_network

    models = {model.title(): model for sizes in (FULL, SMALL) for model in sizes.steps}
    if network not in models:
        return None
    costs = costs_of_network(models[network], 100, (32, 32, 3))
    times = schedule.freeze_times(len(costs), t0, scaling)
    steps = schedule.freeze_steps(times, TOTAL_STEPS)
    whole = TOTAL_STEPS * step_flops(costs, 0)
    return 100 * (1 - run_flops(costs, steps, TOTAL_STEPS) / whole)
