"""Freeze times of units and their learning rates until then: pure functions, no torch.

Source: Brock, Lim, Ritchie, Weston, "FreezeOut: Accelerate Training by Progressively Freezing
Layers", 2017, arXiv 1706.04983, section 2.
"""

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal

SCALINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "squared": lambda x: x**2,
    "cubic": lambda x: x**3,
}

# Relative tolerance for float rounding: a product this close above a whole number is that number.
ROUNDING = 1e-12


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps in an epoch of `images` images; the short last batch counts."""
    return math.ceil(images / batch_size)


def total_steps(images: int, batch_size: int, epochs: int, epoch_share: float = 1.0) -> int:
    """Steps in a run: the share of all its epochs' steps, rounded half up (0 for a tiny share)."""
    return _rounded(Decimal(str(epoch_share)) * epochs * steps_per_epoch(images, batch_size))


def warmup_steps(epochs: float, steps_per_epoch: int) -> int:
    """Steps over which learning rates warm up, in as many epochs, rounded half up."""
    return _rounded(Decimal(str(epochs)) * steps_per_epoch)


def warmup_factor(step: float, warmup_steps: int) -> float:
    """What the rates of a step are multiplied with: `(k + 1)/W` in the first W, counted from 0."""
    return (step + 1) / warmup_steps if step + 1 < warmup_steps else 1.0


def _rounded(steps: Decimal) -> int:
    return int(steps.to_integral_value(ROUND_HALF_UP))


def reference_steps(total_steps: int) -> int:
    """The steps over which the paper's published code anneals a run of `total_steps`, rounded up.

    It assumes 1000 steps per epoch where there are 900, so its schedule never reaches its end.
    """
    return math.ceil(total_steps * 10 / 9)


def freeze_times(num_units: int, t0: float, scaling: str) -> list[float]:
    """The share of the run after which each unit freezes, `t_i = s(t0 + (1 - t0)·i/(L - 1))`.

    `t0` in (0, 1] is the first unit's time before the scaling `s`; the last unit, the head, has
    time 1 and never freezes. The times never decrease.

    Raises ValueError for fewer than one unit, an unknown scaling or a t0 out of range.
    """
    if num_units < 1:
        raise ValueError(f"num_units must be at least 1, not {num_units}")
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, not {scaling!r}")
    if not 0 < t0 <= 1:
        raise ValueError(f"t0 must be above 0 and at most 1, not {t0}")
    scale, head = SCALINGS[scaling], num_units - 1
    times = [scale(min(1.0, t0 + (1 - t0) * unit / head)) for unit in range(head)]
    if times and times[0] == 0:
        raise ValueError(f"t0 = {t0} is too small: its {scaling} scaling is 0 in floating point")
    return [*times, 1.0]


def freeze_steps(times: Sequence[float], total_steps: int) -> list[int]:
    """The first step, counted from 0, at which each unit is frozen: `ceil(t_i·T)`.

    A value of `total_steps` means that the unit trains to the end.
    """
    return [max(1, math.ceil(time * total_steps * (1 - ROUNDING))) for time in times]


def learning_rate(initial: float, freeze_time: float, progress: float) -> float:
    """The annealed rate `½·initial·(1 + cos(π·progress/freeze_time))`, and 0 from then on.

    `progress` is step / total steps, in [0, 1]. The formula printed in the paper lacks the ½.
    """
    if progress >= freeze_time:
        return 0.0
    return 0.5 * initial * (1 + math.cos(math.pi * progress / freeze_time))


def restarted_rate(initial: float, step: float, cycle_steps: int) -> float:
    """The annealed rate with a warm restart after each cycle of `cycle_steps` steps.

    `½·initial·(1 + cos(π·mod(k, C)/C))` at step k, counted from 0, with C the steps of a cycle.

    Source: Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", 2017, arXiv 1704.00109,
    equation 2, which counts steps from 1.
    """
    return learning_rate(initial, 1.0, step % cycle_steps / cycle_steps)
