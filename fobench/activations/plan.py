"""Which activations to store when, so that training is fastest. Pure functions; no torch.

Freeze steps are known before training. So are the units that are frozen at the start of each epoch,
and what a store behind them would save. Here epochs count from 0 and cuts from 1: the activations
at cut c are the input of unit c, the output of `units[:c]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from fobench.errors import UserError

MIN_ADVANTAGE = 1.1  # a slower place must save this many times as much
Builds = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class FrozenEpoch:
    """An epoch that starts with frozen units: its number of images, and of units it can skip."""

    epoch: int
    images: int
    storable: int


@dataclass(frozen=True)
class ForwardCosts:
    """Costs of one image, without gradients.

    `pixels`: seconds to read and augment it; `forward`: seconds of each unit; `bytes_at`: size of
    its stored activations at each cut, 0 at cut 0.
    """

    pixels: float
    forward: tuple[float, ...]
    bytes_at: tuple[int, ...]

    @cached_property
    def forward_to(self) -> tuple[float, ...]:
        """Seconds of `units[:cut]`, by cut."""
        return tuple(accumulate(self.forward, initial=0.0))

    def forward_between(self, start: int, end: int) -> float:
        return self.forward_to[end] - self.forward_to[start]


@dataclass(frozen=True)
class Place:
    """A place for stores: bytes available, and bytes per second of reading and writing."""

    name: str
    room: int
    read: float
    write: float


@dataclass(frozen=True)
class StorePlan:
    """What to store: `builds` are (epoch, cut) in order of epochs, empty if no store pays off.

    Predictions: `seconds_saved` in total compared with storing nothing, `build_seconds` and
    `read_seconds`, and `peak_bytes`, including both stores while one is built from another.
    `room` is the budget in bytes.
    """

    builds: Builds = ()
    place: str = "none"
    room: int = 0
    peak_bytes: int = 0
    seconds_saved: float = 0.0
    build_seconds: float = 0.0
    read_seconds: float = 0.0

    def cut_in(self, epoch: int) -> int | None:
        """The cut to build at the start of an epoch, if any."""
        return dict(self.builds).get(epoch)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "StorePlan":
        builds = tuple((int(epoch), int(cut)) for epoch, cut in content["builds"])
        return cls(**{**content, "builds": builds})


STORE_NOTHING = StorePlan()


def frozen_epochs(
    freeze_steps: Sequence[int],
    total_steps: int,
    steps_per_epoch: int,
    images: int,
    batch_size: int,
) -> list[FrozenEpoch]:
    """The epochs that start with a frozen unit. The head (the last unit) never freezes."""
    found = []
    for epoch, first in enumerate(range(0, total_steps, steps_per_epoch)):
        storable = sum(step <= first for step in freeze_steps[:-1])
        if storable:
            steps = min(steps_per_epoch, total_steps - first)
            found.append(FrozenEpoch(epoch, min(images, steps * batch_size), storable))
    return found


def by_view(epochs: Sequence[FrozenEpoch], views: int) -> list[list[FrozenEpoch]]:
    """The epochs of each view."""
    return [[each for each in epochs if each.epoch % views == view] for view in range(views)]


def best_plan(
    epochs: Sequence[FrozenEpoch],
    images: int,
    costs: ForwardCosts,
    places: Sequence[Place],
    views: int = 1,
) -> StorePlan:
    """The fastest plan over all `places`, which are given fastest first.

    A slower place must save clearly more, as its measured speed is less certain. Each view has an
    equal share of the room, so views are planned separately.
    """
    plans = []
    for place in places:
        builds = [
            build
            for epochs_of_view in by_view(epochs, views)
            for build in best_builds(epochs_of_view, images, costs, place, place.room // views)
        ]
        plans.append(predict(tuple(sorted(builds)), epochs, images, costs, place, views))
    best = max(plans, key=lambda plan: plan.seconds_saved)
    enough = best.seconds_saved / MIN_ADVANTAGE
    return next(plan for plan in plans if plan is best or plan.seconds_saved >= enough)


def best_builds(
    epochs: Sequence[FrozenEpoch], images: int, costs: ForwardCosts, place: Place, room: int
) -> list[tuple[int, int]]:
    """The fastest builds for the epochs of one view, by dynamic programming.

    The state is the stored cut. A build starts from the existing store, and both must fit into
    `room` bytes meanwhile. If plans take the same time, the one with fewer builds wins.
    """
    # For each cut: (seconds compared with storing nothing, number of builds, the builds).
    best: dict[int, tuple[float, int, list[tuple[int, int]]]] = {0: (0.0, 0, [])}
    for each in epochs:
        reached = dict(best)
        for before, (seconds, count, builds) in best.items():
            for cut in range(before + 1, each.storable + 1):
                if images * (costs.bytes_at[before] + costs.bytes_at[cut]) > room:
                    continue
                took = seconds + build_seconds(before, cut, images, costs, place)
                if cut not in reached or (took, count + 1) < reached[cut][:2]:
                    reached[cut] = (took, count + 1, [*builds, (each.epoch, cut)])
        best = {
            cut: (seconds + each.images * extra_seconds(cut, costs, place), count, builds)
            for cut, (seconds, count, builds) in reached.items()
        }
    return min(best.values(), key=lambda way: way[:2])[2]


def read_seconds(cut: int, costs: ForwardCosts, place: Place) -> float:
    """Seconds to read an image's activations at a cut; at cut 0, its pixels."""
    return costs.bytes_at[cut] / place.read if cut else costs.pixels


def extra_seconds(cut: int, costs: ForwardCosts, place: Place) -> float:
    """Seconds per image of reading at a cut, minus those of computing from the pixels."""
    if cut == 0:
        return 0.0
    return read_seconds(cut, costs, place) - costs.pixels - costs.forward_between(0, cut)


def build_seconds(before: int, cut: int, images: int, costs: ForwardCosts, place: Place) -> float:
    """Seconds to build the store at a cut from the one at `before`, or from the pixels (0)."""
    return images * (
        read_seconds(before, costs, place)
        + costs.forward_between(before, cut)
        + costs.bytes_at[cut] / place.write
    )


def predict(
    builds: Builds,
    epochs: Sequence[FrozenEpoch],
    images: int,
    costs: ForwardCosts,
    place: Place,
    views: int,
) -> StorePlan:
    """The plan with these builds and its predicted times and sizes."""
    building = reading = computing = 0.0
    held = dict.fromkeys(range(views), 0)
    cuts = dict.fromkeys(range(views), 0)
    peak, due = 0, dict(builds)
    for each in epochs:
        view = each.epoch % views
        if each.epoch in due:
            before, cut = cuts[view], due[each.epoch]
            building += build_seconds(before, cut, images, costs, place)
            peak = max(peak, sum(held.values()) + images * costs.bytes_at[cut])
            cuts[view], held[view] = cut, images * costs.bytes_at[cut]
        if cuts[view]:
            reading += each.images * read_seconds(cuts[view], costs, place)
            computing += each.images * extra_seconds(cuts[view], costs, place)
    return StorePlan(
        builds=builds,
        place=place.name if builds else "none",
        room=place.room,
        peak_bytes=peak,
        seconds_saved=0.0 if not builds else -(computing + building),
        build_seconds=building,
        read_seconds=reading,
    )


def explicit_builds(plan: Builds, epochs: Sequence[FrozenEpoch], views: int) -> Builds:
    """A config's plan, whose epochs count from 1, as builds.

    Raises UserError with all cuts that are not frozen when their epoch starts, or not behind the
    previous cut of the same view.
    """
    storable = {each.epoch + 1: each.storable for each in epochs}
    cuts = dict.fromkeys(range(views), 0)
    problems = []
    for epoch, cut in plan:
        view = (epoch - 1) % views
        least, most = cuts[view] + 1, storable.get(epoch, 0)
        if not most:
            problems.append(f"plan: epoch {epoch} does not start with a frozen unit")
        elif least > most:
            problems.append(f"plan: at epoch {epoch} all {most} frozen units are already stored")
        elif not least <= cut <= most:
            problems.append(
                f"plan: [{epoch}, {cut}], but at the start of epoch {epoch} the cut must be "
                f"{least} to {most}"
            )
        else:
            cuts[view] = cut
    if problems:
        raise UserError(problems)
    return tuple((epoch - 1, cut) for epoch, cut in plan)
