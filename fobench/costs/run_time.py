"""The training time of a run, from a profile and the steps at which units freeze. Pure functions.

    T = Σ_d n_d · τ(d) + what first steps and captures cost − what stores save

with n_d the steps with d units frozen and τ(d) the seconds of such a step.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fobench.costs.profile import Profile
from fobench.machine.graphs import MIN_REPLAYS


@dataclass(frozen=True)
class Steps:
    """Steps of equal work: units frozen, units whose activations are stored, batch full or not."""

    frozen: int
    cut: int = 0
    is_short: bool = False


def count_steps(
    freeze_steps: Sequence[int],
    total_steps: int,
    steps_per_epoch: int,
    has_short_batch: bool = False,
    builds: Iterable[tuple[int, int]] = (),
    views: int = 1,
) -> Counter[Steps]:
    """How many steps of each kind a run takes, given the step at which each unit freezes.

    `builds` are the (epoch, cut) of stores, epochs counted from 0; epoch e reads the store of view
    e mod `views`. The last batch of a complete epoch is short with `has_short_batch`.
    """
    found, cuts, due = Counter[Steps](), dict[int, int](), dict(builds)
    freezes = sorted(step for step in freeze_steps if step < total_steps)
    for epoch, start in enumerate(range(0, total_steps, steps_per_epoch)):
        end = min(start + steps_per_epoch, total_steps)
        cuts[epoch % views] = due.get(epoch, cuts.get(epoch % views, 0))
        changes = [start, *(step for step in freezes if start < step < end), end]
        for first, after in pairwise(sorted(set(changes))):
            frozen, cut = bisect_right(freezes, first), cuts[epoch % views]
            short = has_short_batch and after == start + steps_per_epoch
            found[Steps(frozen, cut)] += after - first - short
            if short:
                found[Steps(frozen, cut, is_short=True)] += 1
    return +found


def train_seconds(profile: Profile, counts: Counter[Steps]) -> float:
    """Seconds of training, without what stores save."""
    return sum(seconds_of(profile, steps, count) for steps, count in counts.items())


def seconds_of(profile: Profile, steps: Steps, count: int) -> float:
    """Seconds of `count` equal steps.

    Where steps are captured, the first is not, and none is if few follow: as in
    `fobench.training.step.GraphStep`.
    """
    share = profile.short_step if steps.is_short else 1.0
    replayed = share * profile.steps[steps.frozen].median
    if not profile.captures:
        return count * replayed
    eager = share * profile.first_steps[steps.frozen]
    if count <= MIN_REPLAYS:
        return count * eager
    return eager + profile.captures[steps.frozen] + (count - 1) * replayed
