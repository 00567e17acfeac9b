"""The predicted time of a run, against sums over its steps one by one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench.costs.profile import Profile, Spread
from fobench.costs.run_time import Steps, count_steps, train_seconds
from fobench.machine.graphs import MIN_REPLAYS


def profile(*step_seconds, short=1.0, first=(), captures=()) -> Profile:
    return Profile(
        steps=tuple(Spread(each, each, each, 1) for each in step_seconds),
        drift=(1.0, 1.0, 1.0),
        short_step=short,
        first_steps=first,
        captures=captures,
        pixels=0.0,
        forward=(1.0,) * len(step_seconds),
        evaluation=0.0,
        peak_memory_bytes=0,
        rounds=1,
        seconds=1.0,
    )


@given(
    freezes=st.lists(st.integers(1, 40), max_size=5),
    total=st.integers(1, 40),
    per_epoch=st.integers(1, 9),
    has_short=st.booleans(),
)
def test_every_step_is_counted_with_what_is_frozen_in_it(freezes, total, per_epoch, has_short):
    freeze_steps = [*sorted(min(step, total) for step in freezes), total]
    expected = Counter(
        Steps(
            sum(step <= now for step in freeze_steps),
            is_short=has_short and now % per_epoch == per_epoch - 1,
        )
        for now in range(total)
    )
    assert count_steps(freeze_steps, total, per_epoch, has_short) == expected


def test_stores_are_read_in_the_epochs_of_their_view():
    # Two views of epochs 0, 2, 4 and 1, 3; the first is stored from epoch 2, the other from 3 on.
    counts = count_steps([1, 10], 10, 2, builds=((2, 1), (3, 1)), views=2)
    # The first step has nothing frozen, the second of epoch 0 and both of epoch 1 no store.
    assert counts == {Steps(0): 1, Steps(1): 3, Steps(1, cut=1): 6}


def test_seconds_are_summed_over_the_steps():
    counts = Counter({Steps(0): 10, Steps(1): 5, Steps(1, is_short=True): 2})
    assert train_seconds(profile(1.0, 0.5, short=0.8), counts) == 10 + 2.5 + 2 * 0.4


def test_with_graphs_the_first_step_is_not_replayed_and_the_second_is_captured():
    with_graphs = profile(1.0, 0.5, first=(3.0, 2.0), captures=(7.0, 6.0))
    many = MIN_REPLAYS + 1
    assert train_seconds(with_graphs, Counter({Steps(1): many})) == 2 + 6 + 0.5 * (many - 1)
    # Too few to capture a step for.
    assert train_seconds(with_graphs, Counter({Steps(1): MIN_REPLAYS})) == 2 * MIN_REPLAYS


def test_spread_is_of_quartiles():
    assert Spread.of([5, 1, 2, 3, 4]) == Spread(3, 2, 4, 5)


def test_drift_is_between_the_slowest_and_the_fastest():
    changed = Profile(**{**vars(profile(1.0)), "drift": (1.0, 1.1, 0.88)})
    assert changed.drift_percent == pytest.approx(25)
