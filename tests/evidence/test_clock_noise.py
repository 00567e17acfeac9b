"""The noise of the clock and outlying runs, against values worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fobench.evidence import clock_noise
from fobench.evidence.pairs import table
from tests.evidence.test_stats import result


def noisy(seconds: dict[tuple[int, int], float]) -> pd.DataFrame:
    """A table of baselines by (seed, repeat)."""
    return table(
        [result("baseline", seed, each, 30, repeat) for (seed, repeat), each in seconds.items()]
    )


def test_the_noise_of_repeats_is_their_pooled_deviation():
    """Logs 0 and 0.02, 1 and 1.04: squares about the means 0.0002 and 0.0008, 2 degrees."""
    seconds = {(0, 0): 1.0, (0, 1): math.exp(0.02), (1, 0): math.e, (1, 1): math.exp(1.04)}
    found = clock_noise.noise_of_repeats(noisy(seconds))
    assert found.degrees == 2
    assert found.percent == pytest.approx(100 * math.expm1(math.sqrt(0.001 / 2)))
    # t(0.975, 2) = 4.30265.
    least = 100 * math.expm1(4.30265 * math.sqrt(2 * 0.001 / 2))
    assert found.half_width(2) == pytest.approx(least, abs=1e-3)


def test_there_is_no_noise_to_show_without_repeats_and_none_in_equal_times():
    assert clock_noise.noise_of_repeats(noisy({(0, 0): 1, (1, 0): 2})) is None
    equal = clock_noise.noise_of_repeats(noisy({(0, 0): 7, (0, 1): 7}))
    assert (equal.percent, equal.half_width(2)) == (0, 0)


def test_the_noise_of_seeds_takes_one_run_a_seed():
    """Logs 0 and 0.1: squares about their mean 0.005, one degree."""
    seconds = {(0, 0): 1.0, (1, 0): math.exp(0.1), (0, 1): 50.0, (1, 1): 50.0}
    found = clock_noise.noise_of_seeds(noisy(seconds))
    assert (found.degrees, found.percent) == (1, pytest.approx(100 * math.expm1(0.005**0.5)))


def test_the_first_epochs_of_a_seed_are_of_equal_work_in_all_methods():
    """Logs 0 and 0.1 in a seed: squares about their mean 0.005; frozen units leave an epoch out."""
    runs = [result("baseline", 0, 30, 30), result("freezeout", 0, 20, 31)]
    runs += [result("freezeout", 1, 20, 31)]
    seconds = [(1.0, 0), (math.exp(0.1), 0), (9.0, 1)]
    for run, (first, frozen) in zip(runs, seconds, strict=True):
        run.epochs[0] = replace(run.epochs[0], train_seconds=first, frozen_units=frozen)
    found = clock_noise.noise_of_first_epochs(table(runs))
    assert (found.degrees, found.percent) == (1, pytest.approx(100 * math.expm1(0.005**0.5)))


def test_drift_between_seeds_is_no_noise_of_pairs():
    runs = []
    for seed, drift in ((0, 1.0), (1, 3.0)):
        runs += [
            result("baseline", seed, 100 * drift, 30),
            result("freezeout", seed, 80 * drift, 31),
        ]
    paired = table(runs)
    assert clock_noise.noise_of_pairs(paired).percent == pytest.approx(0, abs=1e-9)
    assert clock_noise.noise_of_seeds(paired).percent > 50


@pytest.mark.parametrize("methods", [1, 2, 10])
def test_pairs_that_share_a_baseline_have_fewer_degrees_of_freedom(methods):
    """Of k methods in n seeds, with equal noise in all runs, whatever it is: the covariance has in
    each seed the variances 1, k − 1 times, and k + 1, each with n − 1 degrees of freedom."""
    k, n = methods, 4
    seconds = np.exp(np.random.default_rng(1).normal(0, 0.01, (n, k + 1)))
    runs = []
    for seed in range(n):
        runs.append(result("baseline", seed, seconds[seed, k], 30))
        runs += [result("baseline", seed, seconds[seed, i], 31, share=0.05 * (i + 1))
                 for i in range(k)]  # fmt: skip
    found = clock_noise.noise_of_pairs(table(runs))
    assert found.degrees == pytest.approx((n - 1) * (2 * k) ** 2 / ((k - 1) + (k + 1) ** 2))
    logs = np.log(seconds[:, :k] / seconds[:, k:])
    assert found.percent == pytest.approx(100 * np.expm1(logs.std(0, ddof=1).mean())) or k > 1


def test_an_outlying_time_is_reported_with_how_far_it_strays():
    seconds = {(seed, 0): 100 + seed for seed in range(6)} | {(6, 0): 150}
    assert clock_noise.outliers(noisy(seconds)) == [
        ("baseline-6-0", pytest.approx(100 * (150 / 103 - 1)))
    ]


@pytest.mark.parametrize(
    "seconds",
    [
        {(0, 0): 100.0, (1, 0): 100.1, (2, 0): 104},  # within 5 %
        {(0, 0): 70, (1, 0): 100, (2, 0): 130},  # all deviate
    ],
)
def test_a_time_that_does_not_stand_out_is_not_named(seconds):
    assert clock_noise.outliers(noisy(seconds)) == []


def test_of_two_times_either_may_stray():
    assert clock_noise.outliers(noisy({(0, 0): 100, (1, 0): 150})) is None


def test_pure_noise_is_seldom_called_outlying():
    """Normal noise of 4 %, three runs of each of twelve methods: below 2 in 100 are named."""
    random = np.random.default_rng(0)
    named = 0
    for _ in range(40):
        runs = []
        for t0 in range(1, 13):
            for seed in range(3):
                each = result("freezeout", seed, 100 * math.exp(random.normal(0, 0.04)), 30)
                each.record["run"]["method"]["t0"] = t0 / 12
                runs.append(replace(each, id=f"{t0}-{seed}"))
        named += len(clock_noise.outliers(table(runs)))
    assert named / (40 * 36) < 0.02
