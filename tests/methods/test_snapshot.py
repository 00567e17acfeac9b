"""Snapshot ensembling: the published rates, units that freeze at ends of cycles, its options."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.freezing.schedule import SCALINGS, restarted_rate
from fobench.methods import EnsembleOptions, SnapshotOptions
from fobench.methods.base import RunInfo
from tests.conftest import TINY
from tests.freezing.test_schedule import exact_times
from tests.methods.test_controls import rates as rates_by_step

LR = 0.2
IMAGES = open_synthetic("synthetic", 55, 20)
cycle_counts = st.integers(2, 12)
unit_counts = st.integers(2, 60)


def published_rate(t: int, total: int, cycles: int, lr: float) -> float:
    """Equation 2 of Huang et al. 2017, step by step as printed; t counts from 1."""
    length = math.ceil(total / cycles)
    return lr / 2 * (math.cos(math.pi * ((t - 1) % length) / length) + 1)


def snapshot(run: Run, **options) -> Run:
    return replace(run, method=SnapshotOptions(**{"cycles": 4, "lr": LR} | options))


@given(cycle_counts, st.integers(1, 200), st.floats(1e-3, 1.0))
def test_the_rate_is_the_published_one_at_every_step(cycles, cycle_steps, lr):
    total = cycles * cycle_steps
    for step in range(total):
        expected = published_rate(step + 1, total, cycles, lr)
        assert restarted_rate(lr, step, cycle_steps) == pytest.approx(expected, abs=1e-12)


def test_all_units_follow_the_published_rate_over_a_whole_run(run):
    """A cycle starts at lr, and its last step is one before zero."""
    rates = rates_by_step(snapshot(run))
    expected = [published_rate(step + 1, 40, 4, LR) for step in range(40)]
    assert rates == pytest.approx(np.repeat(np.array(expected)[:, None], rates.shape[1], axis=1))
    assert (rates[::10] == LR).all()
    assert rates[9::10] == pytest.approx(LR * math.sin(math.pi / 20) ** 2)
    for cycle in rates.reshape(4, 10, -1):
        assert (np.diff(cycle, axis=0) < 0).all()


def test_an_ensemble_anneals_each_member_as_a_shorter_baseline(run):
    method = EnsembleOptions(members=4)
    shorter = replace(run, method=run.method.replace(epoch_share=0.25))
    rates = rates_by_step(replace(run, method=method))
    assert (rates == np.tile(rates_by_step(shorter), (4, 1))).all()


@given(cycle_counts, unit_counts, st.integers(1, 100), st.sampled_from(sorted(SCALINGS)))
def test_units_freeze_at_the_first_end_of_a_cycle_at_or_after_their_time(
    cycles, units, percent, scaling
):
    method = SnapshotOptions(cycles=cycles, scaling=scaling, t0=percent / 100)
    info = RunInfo(units, 7 * cycles, "densenet")
    ends = [Fraction(end, cycles) for end in range(1, cycles + 1)]
    expected = [
        next(7 * cycles * end for end in ends if end >= time)
        for time in exact_times(units, percent / 100, scaling)
    ]
    assert method.freeze_steps(info) == expected


@given(cycle_counts, unit_counts, st.integers(1, 100), st.sampled_from(sorted(SCALINGS)))
def test_with_scaled_rates_all_units_travel_equally_far(cycles, units, percent, scaling):
    """The sum of a unit's rates until it freezes is that of the head."""
    method = SnapshotOptions(cycles=cycles, scaling=scaling, t0=percent / 100)
    info = RunInfo(units, 6 * cycles, "densenet")
    freezes = method.freeze_steps(info)
    rates = np.array([method.learning_rates(step, info, 0.1) for step in range(6 * cycles)])
    distances = [rates[:step, unit].sum() for unit, step in enumerate(freezes)]
    assert distances == pytest.approx([distances[-1]] * units)


def test_frozen_units_have_no_rate_and_the_others_follow_the_cycles(run):
    method = SnapshotOptions(cycles=4, lr=LR, scaling="linear", t0=0.3, scale_lr=False)
    run = replace(run, method=method)
    rates = rates_by_step(run)
    freezes = method.freeze_steps(run.info(rates.shape[1]))
    assert len(set(freezes)) > 2
    assert all(step % 10 == 0 for step in freezes)
    for unit, step in enumerate(freezes):
        expected = [published_rate(t, 40, 4, LR) for t in range(1, step + 1)]
        assert rates[:step, unit] == pytest.approx(expected)
        assert (rates[step:, unit] == 0).all()


def test_its_control_trains_as_many_models_for_as_many_steps(run):
    chosen = snapshot(run, cycles=2, scaling="cubic")
    control = chosen.control_run
    assert control.method == EnsembleOptions(members=2)
    assert control.total_steps == chosen.total_steps
    assert snapshot(run, cycles=2, epoch_share=0.5).control_run is None


def test_what_a_freezing_ensemble_has_to_beat_is_its_like_in_fewer_steps():
    """Whichever of them keeps its snapshots."""
    freezing = SnapshotOptions(cycles=3, scaling="cubic", keep_snapshots=True)
    for keeps in (False, True):
        shorter = SnapshotOptions(cycles=3, epoch_share=0.5, keep_snapshots=keeps)
        assert shorter.is_share_of(freezing.unfrozen())
        assert shorter.unfrozen() is None
    for other in (SnapshotOptions(cycles=4), SnapshotOptions(cycles=3, lr=0.1), freezing):
        assert not other.is_share_of(freezing.unfrozen())
    assert not EnsembleOptions(members=3).is_share_of(freezing.unfrozen())


def test_snapshots_that_are_not_asked_to_freeze_have_no_freeze_time_in_their_names():
    assert SnapshotOptions(cycles=3).label() == "3 snapshots, lr 0.2"
    assert SnapshotOptions(cycles=3).slug() == "snapshot-3-lr0.2"
    freezing = SnapshotOptions(cycles=3, scaling="cubic", t0=0.5, scale_lr=False)
    assert freezing.label() == "3 snapshots, lr 0.2, FreezeOut cubic, unscaled rates, t0 = 0.5"
    assert freezing.slug() == "snapshot-3-lr0.2-cubic-unscaled-t0.50"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("cycles = 2", "it trains 3 epochs, which do not divide into 2 equal parts"),
        ("cycles = 3\nepoch_share = 0.5", "it trains 1.5 epochs, which do not divide into 3"),
        ("cycles = 1", "cycles = 1: give a whole number of at least 2"),
        ("cycles = 3\nt0 = 0.5", 't0: nothing freezes with scaling = "none"'),
        ("cycles = 3\nscale_lr = false", 'scale_lr: nothing freezes with scaling = "none"'),
        ('cycles = 3\nscaling = "cubic"\nt0 = 1e-200', "its cubic scaling is 0 in floating point"),
        ("cycles = 3\nviews = 2", 'views: nothing freezes with scaling = "none"'),
        ("cycles = 3\nlr = 0.0", "lr = 0.0: give a number above 0"),
    ],
)
def test_what_cannot_be_trained_is_said_before_training(options, message, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'{TINY}\n[[method]]\nname = "snapshot"\n{options}\n')
    with pytest.raises(UserError) as raised:
        expand(load(config), IMAGES)
    assert len(raised.value.problems) == 1
    assert message in raised.value.problems[0]


def test_an_ensemble_must_divide_the_epochs_too(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'{TINY}\n[[method]]\nname = "ensemble"\nmembers = [3, 4]\n')
    with pytest.raises(UserError, match=r"ensemble: it trains 3 epochs.* 4 equal parts") as raised:
        expand(load(config), IMAGES)
    assert len(raised.value.problems) == 1


def test_a_share_of_whole_epochs_may_be_written_as_a_rounded_decimal(tmp_path):
    """0.6667 of 9 epochs are 6, as steps are rounded."""
    config = tmp_path / "config.toml"
    table = 'name = "snapshot"\ncycles = 3\nepoch_share = [0.6667, 0.3333]'
    config.write_text(f"{TINY.replace('epochs = 3', 'epochs = 9')}\n[[method]]\n{table}\n")
    runs = [run for run in expand(load(config), IMAGES) if run.method.name == "snapshot"]
    assert [run.epochs for run in runs] == [6, 3]


def test_shorter_snapshots_are_points_on_a_line_in_figures():
    whole, shorter = SnapshotOptions(), SnapshotOptions(epoch_share=0.5)
    assert whole.line() == shorter.line()
    assert (whole.point(), shorter.point()) == ("", "50%")
    assert shorter.point_meaning == "share of the steps"
    assert shorter.label() == "5 snapshots, lr 0.2, 50% of the steps"
    assert SnapshotOptions(scaling="cubic").point_meaning == "t0"
