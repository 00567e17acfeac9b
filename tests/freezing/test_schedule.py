"""The formulas of schedule.py against independent evaluations of the paper's."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench.freezing.schedule import (
    SCALINGS,
    freeze_steps,
    freeze_times,
    learning_rate,
    steps_per_epoch,
    total_steps,
)

POWERS = {"linear": 1, "squared": 2, "cubic": 3}

t0s = st.integers(1, 100).map(lambda percent: percent / 100)
unit_counts = st.integers(2, 60)
scalings = st.sampled_from(sorted(SCALINGS))


def exact_times(units: int, t0: float, scaling: str) -> list[Fraction]:
    """The freeze times in exact arithmetic, from the decimal number the user wrote."""
    start = Fraction(Decimal(str(t0)))
    return [(start + (1 - start) * Fraction(i, units - 1)) ** POWERS[scaling] for i in range(units)]


@given(unit_counts, t0s, scalings)
def test_freeze_times_are_those_of_the_formula(units, t0, scaling):
    times = freeze_times(units, t0, scaling)
    assert times == pytest.approx([float(time) for time in exact_times(units, t0, scaling)])
    assert times[-1] == 1


def test_freeze_times_by_hand():
    assert freeze_times(3, 0.5, "linear") == [0.5, 0.75, 1]
    assert freeze_times(3, 0.5, "squared") == [0.25, 0.5625, 1]
    assert freeze_times(3, 0.5, "cubic") == [0.125, 0.421875, 1]
    assert freeze_times(1, 0.5, "cubic") == [1]


@given(unit_counts, t0s, scalings, st.integers(1, 100_000))
def test_freeze_steps_are_the_exact_ceilings(units, t0, scaling, steps):
    """In floating point 0.7·10 may come out above 7; the step must be 7 all the same."""
    expected = [math.ceil(time * steps) for time in exact_times(units, t0, scaling)]
    assert freeze_steps(freeze_times(units, t0, scaling), steps) == expected


@given(unit_counts, t0s, scalings, st.integers(1, 10_000))
def test_units_freeze_in_order_and_the_head_never(units, t0, scaling, steps):
    frozen_at = freeze_steps(freeze_times(units, t0, scaling), steps)
    assert frozen_at == sorted(frozen_at)
    assert frozen_at[0] >= 1
    assert frozen_at[-1] == steps


@given(t0s, scalings, st.integers(2, 500))
def test_learning_rate_is_a_half_cosine_to_the_freeze_time(t0, scaling, steps):
    for time in freeze_times(5, t0, scaling):
        progress = np.arange(steps) / steps
        expected = np.where(progress < time, 0.3 / 2 * (1 + np.cos(np.pi * progress / time)), 0.0)
        rates = [learning_rate(0.3, time, step / steps) for step in range(steps)]
        np.testing.assert_allclose(rates, expected, atol=1e-12)


def test_learning_rate_at_known_points():
    assert learning_rate(0.1, 0.5, 0.0) == 0.1
    assert learning_rate(0.1, 0.5, 0.25) == pytest.approx(0.05)
    assert learning_rate(0.1, 0.5, 0.5) == 0
    assert learning_rate(0.1, 0.5, 0.9) == 0


@pytest.mark.parametrize(
    ("units", "t0", "scaling"),
    [(0, 0.5, "cubic"), (3, 0, "cubic"), (3, 1.1, "cubic"), (3, math.nan, "cubic"),
     (3, 0.5, "quartic"), (3, 1e-200, "cubic")],
)  # fmt: skip
def test_impossible_freeze_times_are_refused(units, t0, scaling):
    with pytest.raises(ValueError, match=r"num_units|t0|scaling"):
        freeze_times(units, t0, scaling)


def test_the_short_last_batch_counts_as_a_step():
    assert steps_per_epoch(45000, 50) == 900
    assert steps_per_epoch(6000, 64) == 94


@pytest.mark.parametrize(
    ("share", "steps"),
    [(1.0, 940), (0.8, 752), (0.85, 799), (0.55, 517), (0.5, 470), (0.0025, 2), (0.0001, 0)],
)
def test_total_steps_round_half_up(share, steps):
    assert total_steps(6000, 64, 10, share) == steps


def test_half_a_step_is_rounded_up():
    assert total_steps(10, 2, 1, 0.5) == 3
    assert total_steps(10, 2, 1, 0.3) == 2
