"""The plan of what to store when: never worse than any other, and within its budget."""

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fobench.activations.plan import (
    ForwardCosts,
    FrozenEpoch,
    Place,
    StorePlan,
    best_plan,
    explicit_builds,
    frozen_epochs,
    predict,
)
from fobench.errors import UserError
from fobench.freezing.schedule import freeze_steps, freeze_times

IMAGES = 100


@st.composite
def cases(draw):
    """Small networks and trainings, with every number drawn."""
    units = draw(st.integers(2, 4))
    seconds = st.floats(0, 1e-2, allow_subnormal=False)
    costs = ForwardCosts(
        pixels=draw(seconds),
        forward=tuple(draw(st.lists(seconds, min_size=units, max_size=units))),
        bytes_at=(0, *draw(st.lists(st.integers(1, 1000), min_size=units - 1, max_size=units - 1))),
    )
    bandwidth = st.floats(1e3, 1e9)
    place = Place("host memory", draw(st.integers(0, 300_000)), draw(bandwidth), draw(bandwidth))
    frozen = sorted(draw(st.lists(st.integers(1, units - 1), min_size=0, max_size=5)))
    first = draw(st.integers(0, 3))
    found = [
        FrozenEpoch(first + number, draw(st.sampled_from([IMAGES, 30])), storable)
        for number, storable in enumerate(frozen)
    ]
    return costs, place, found, draw(st.integers(1, 3))


def seconds_of(choice, found, costs: ForwardCosts, place: Place, views: int) -> float | None:
    """Seconds of the frozen units' forward pass and of the stores, epoch by epoch, written out.

    `choice` names for each epoch the cut that it reads at. None where that cannot be: a cut that is
    not frozen yet, one below an earlier one, or more bytes than there is room for.
    """
    at, total = {}, 0.0
    for use, cut in zip(found, choice, strict=True):
        view = use.epoch % views
        before = at.get(view, 0)
        if cut < before or cut > use.storable:
            return None
        if cut > before:
            if IMAGES * (costs.bytes_at[before] + costs.bytes_at[cut]) > place.room // views:
                return None
            read = costs.bytes_at[before] / place.read if before else costs.pixels
            run = math.fsum(costs.forward[before:cut])
            total += IMAGES * (read + run + costs.bytes_at[cut] / place.write)
            at[view] = cut
        read = costs.bytes_at[cut] / place.read if cut else costs.pixels
        total += use.images * (read + math.fsum(costs.forward[cut : use.storable]))
    return total


@settings(max_examples=300)
@given(cases())
def test_no_other_plan_takes_less_time(case):
    costs, place, found, views = case
    plan = best_plan(found, IMAGES, costs, [place], views)
    choices = product(*(range(use.storable + 1) for use in found))
    took = [seconds_of(each, found, costs, place, views) for each in choices]
    least = min(seconds for seconds in took if seconds is not None)
    at, chosen = {}, []
    for use in found:
        view = use.epoch % views
        at[view] = plan.cut_in(use.epoch) or at.get(view, 0)
        chosen.append(at[view])
    mine = seconds_of(chosen, found, costs, place, views)
    assert mine == pytest.approx(least, abs=1e-9)
    nothing = seconds_of([0] * len(found), found, costs, place, views)
    assert plan.seconds_saved == pytest.approx(nothing - mine, abs=1e-9)
    assert plan.peak_bytes <= place.room
    assert (plan.seconds_saved > 0) == bool(plan.builds)


COSTS = ForwardCosts(pixels=1e-4, forward=(1e-3, 1e-3, 1e-3), bytes_at=(0, 1000, 1000))
FAST = Place("host memory", 10**9, 1e9, 1e9)


def test_a_store_that_is_read_once_is_not_built():
    assert best_plan([FrozenEpoch(4, IMAGES, 2)], IMAGES, COSTS, [FAST]).builds == ()


def test_a_store_that_is_read_twice_is():
    found = [FrozenEpoch(4, IMAGES, 2), FrozenEpoch(5, IMAGES, 2)]
    plan = best_plan(found, IMAGES, COSTS, [FAST])
    assert plan.builds == ((4, 2),)
    # Pixels and two units once for the other epoch; two readings and a writing of 1,000 bytes.
    assert plan.seconds_saved == pytest.approx(IMAGES * (1e-4 + 2e-3 - 3 * 1e-6))
    assert (plan.peak_bytes, plan.place) == (100_000, "host memory")


def test_of_plans_that_tie_the_one_with_fewer_builds_is_made():
    free = ForwardCosts(pixels=0.0, forward=(0.0, 0.0, 0.0), bytes_at=(0, 0, 0))
    found = [FrozenEpoch(epoch, IMAGES, 2) for epoch in range(4)]
    assert best_plan(found, IMAGES, free, [FAST]).builds == ()


def test_both_stores_count_while_one_is_built_from_the_other():
    found = [
        FrozenEpoch(0, IMAGES, 1),
        FrozenEpoch(1, IMAGES, 1),
        *(FrozenEpoch(each, IMAGES, 2) for each in range(2, 9)),
    ]
    for room, builds in ((200_000, ((0, 1), (2, 2))), (199_999, ((2, 2),)), (99_999, ())):
        place = Place("host memory", room, 1e9, 1e9)
        assert best_plan(found, IMAGES, COSTS, [place]).builds == builds


def test_views_share_the_room_and_are_built_apart():
    found = [FrozenEpoch(epoch, IMAGES, 2) for epoch in range(3, 9)]
    plan = best_plan(found, IMAGES, COSTS, [FAST], views=2)
    assert plan.builds == ((3, 2), (4, 2))
    assert plan.peak_bytes == 200_000
    place = Place("host memory", 199_999, 1e9, 1e9)
    assert best_plan(found, IMAGES, COSTS, [place], views=2).builds == ()


def test_the_place_that_saves_most_is_taken_and_the_nearer_one_if_they_tie():
    found = [FrozenEpoch(epoch, IMAGES, 2) for epoch in range(4)]
    far = Place("scratch file", 10**9, 1e7, 1e7)
    assert best_plan(found, IMAGES, COSTS, [FAST, far]).place == "host memory"
    small = Place("host memory", 1, 1e9, 1e9)
    assert best_plan(found, IMAGES, COSTS, [small, far]).place == "scratch file"
    hardly = Place("scratch file", 10**9, 1e12, 1e12)
    assert best_plan(found, IMAGES, COSTS, [FAST, hardly]).place == "host memory"
    nothing = best_plan(found, IMAGES, COSTS, [small, small])
    assert (nothing.place, nothing.seconds_saved) == ("none", 0.0)


@settings(max_examples=200)
@given(
    units=st.integers(2, 40),
    t0=st.floats(0.05, 1),
    epochs=st.integers(1, 12),
    steps=st.integers(1, 9),
    cut_off=st.integers(0, 8),
)
def test_the_epochs_that_a_store_may_serve(units, t0, epochs, steps, cut_off):
    """Computed from the freeze steps alone, by each epoch's first step."""
    total = max(1, epochs * steps - min(cut_off, steps - 1))
    freezing = freeze_steps(freeze_times(units, t0, "cubic"), total)
    found = {use.epoch: use for use in frozen_epochs(freezing, total, steps, 10 * steps - 5, 10)}
    for epoch in range(-(-total // steps)):
        frozen = len([step for step in freezing[:-1] if step <= epoch * steps])
        assert (found[epoch].storable if epoch in found else 0) == frozen
        if epoch in found:
            left = min(steps, total - epoch * steps)
            images = 10 * left - 5 if left == steps else 10 * left
            assert found[epoch].images == images


def test_a_plan_by_hand_counts_epochs_from_one():
    found = [FrozenEpoch(2, IMAGES, 1), FrozenEpoch(3, IMAGES, 3), FrozenEpoch(4, IMAGES, 3)]
    assert explicit_builds(((3, 1), (4, 3)), found, views=1) == ((2, 1), (3, 3))
    assert explicit_builds(((4, 3), (5, 2)), found, views=2) == ((3, 3), (4, 2))


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (((2, 1),), "epoch 2 does not start with a frozen unit"),
        (((9, 1),), "epoch 9 does not start with a frozen unit"),
        (((3, 2),), "[3, 2], but at the start of epoch 3 the cut must be 1 to 1"),
        (((4, 2), (5, 1)), "[5, 1], but at the start of epoch 5 the cut must be 3 to 3"),
        (((4, 3), (5, 3)), "at epoch 5 all 3 frozen units are already stored"),
    ],
)
def test_what_is_wrong_with_a_plan_by_hand_is_reported(plan, message):
    found = [FrozenEpoch(2, IMAGES, 1), FrozenEpoch(3, IMAGES, 3), FrozenEpoch(4, IMAGES, 3)]
    with pytest.raises(UserError) as caught:
        explicit_builds(plan, found, views=1)
    assert caught.value.problems == [f"plan: {message}"]


def test_a_plan_is_read_as_it_was_written():
    plan = predict(((4, 2),), [FrozenEpoch(4, IMAGES, 2)], IMAGES, COSTS, FAST, views=1)
    assert plan.seconds_saved < 0, "a plan by hand may lose time, and says so"
    assert StorePlan.from_dict({**vars(plan), "builds": [[4, 2]]}) == plan
