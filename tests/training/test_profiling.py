"""The profile: measured by the training step itself, with any number of units frozen."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from fobench.activations.plan import StorePlan
from fobench.costs.profile import Profile, Spread
from fobench.machine import graphs
from fobench.methods import BaselineOptions
from fobench.training import optimizer, profiling, state
from fobench.training.predictions import describe, predict
from fobench.training.profiling import Stepper, measure_profile, measure_rounds, round_trip
from tests.activations.small_runs import loaded, method
from tests.training.cpu_graphs import CpuGraphs


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.0)


@pytest.fixture
def with_graphs(monkeypatch):
    monkeypatch.setattr(state, "Graphs", CpuGraphs)
    monkeypatch.setattr(optimizer, "FUSED", {"cpu"})
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)


def weights(stepper: Stepper) -> list[list[torch.Tensor]]:
    """A copy of each unit's parameters and buffers."""
    network = stepper.training.network
    return [[each.clone() for each in unit.state_dict().values()] for unit in network]


def changed(before: list[list[torch.Tensor]], after: list[list[torch.Tensor]]) -> list[bool]:
    return [
        any(not torch.equal(*each) for each in zip(*units, strict=True))
        for units in zip(before, after, strict=True)
    ]


def test_a_step_trains_the_active_units_alone_and_they_thaw_again(run):
    stepper = Stepper(run, loaded(run))
    for frozen in (2, len(stepper) - 1, 0, 1):
        before = weights(stepper)
        stepper.visit(frozen, 1)
        assert changed(before, weights(stepper)) == [unit >= frozen for unit in range(len(stepper))]


@pytest.mark.usefixtures("with_graphs")
def test_captured_steps_are_those_taken_operation_by_operation(run):
    """Whatever comes in between: a graph of each number of frozen units stays valid."""
    ended = {}
    for mode in ("eager", "graph"):  # one after the other, as they draw dropout from one generator
        stepper = Stepper(replace(run, train=run.train.replace(step=mode)), loaded(run))
        if mode == "eager":
            for frozen in range(len(stepper)):  # what the other takes to capture
                stepper.visit(frozen, 1)
        assert len(stepper.first_steps) == len(stepper) * (mode == "graph")
        for frozen in (0, 2, 1, 0, 3, 2):
            stepper.visit(frozen, 2)
        ended[mode] = weights(stepper)
    assert not any(changed(ended["eager"], ended["graph"]))


def test_a_profile_has_seconds_of_every_number_of_frozen_units(run):
    profile = measure_profile(run, loaded(run))
    assert len(profile.steps) == len(profile.forward) == len(Stepper(run, loaded(run)))
    assert all(0 < step.low <= step.median <= step.high < 10 for step in profile.steps)
    # Nothing frozen comes three times a round.
    counts = [step.count for step in profile.steps]
    assert counts == [3 * profile.rounds] + [profile.rounds] * (len(counts) - 1)
    assert profile.rounds == 2
    assert min(*profile.drift, profile.short_step, profile.pixels, profile.evaluation) > 0
    assert profile.peak_memory_bytes > 1 << 20
    assert not profile.captures


class KnownSteps:
    """Steps that take a known time, and tell in what order they were asked for."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds, self.asked = seconds, []

    def __len__(self) -> int:
        return len(self.seconds)

    def visit(self, frozen: int, steps: int) -> list[float]:
        self.asked.append((frozen, steps))
        return [self.seconds[frozen]] * steps


def test_rounds_go_there_and_back_so_that_no_depth_always_comes_late():
    assert round_trip(5, reverse=False) == [0, 1, 2, 0, 3, 4, 0]
    assert round_trip(5, reverse=True) == [0, 4, 3, 0, 2, 1, 0]
    assert round_trip(1, reverse=False) == [0, 0, 0]
    known = KnownSteps([4.0, 3.0, 2.0])
    assert measure_rounds(known, step_seconds=4.0, seconds=0.0) == [[4.0] * 6, [3.0] * 2, [2.0] * 2]
    assert [frozen for frozen, _ in known.asked] == [0, 1, 0, 2, 0, 0, 2, 0, 1, 0]


def test_fast_steps_are_taken_in_longer_rows():
    for step_seconds, expected in ((1.0, 1), (0.1, 2), (0.05, 4), (1e-6, profiling.MAX_STEPS)):
        known = KnownSteps([step_seconds] * 3)
        measure_rounds(known, step_seconds, seconds=40.0)
        assert {steps for _, steps in known.asked} == {expected}
        assert len(known.asked) == 5 * profiling.MAX_ROUNDS  # they take no time here


def known_profile(units: int) -> Profile:
    """A step takes 1 s per active unit, a short one half of that."""
    return Profile(
        steps=tuple(Spread(*[float(units - frozen)] * 3, 1) for frozen in range(units)),
        drift=(1.0, 1.0, 1.0),
        short_step=0.5,
        first_steps=(),
        captures=(),
        pixels=0.0,
        forward=(1.0,) * units,
        evaluation=0.0,
        peak_memory_bytes=0,
        rounds=1,
        seconds=1.0,
    )


def test_a_run_is_predicted_from_its_freeze_steps(run):
    """Eight epochs of five steps, the last of each short."""
    units = len(Stepper(run, loaded(run)))
    profile = known_profile(units)
    whole = predict(replace(run, method=BaselineOptions()), profile)
    assert whole.seconds == whole.baseline_seconds == 8 * 4.5 * units
    half = predict(replace(run, method=BaselineOptions(epoch_share=0.5)), profile)
    assert half.saved_percent == pytest.approx(50)
    freezing = method(run, t0=0.3)
    freeze_steps = freezing.method.freeze_steps(freezing.info(units))
    one_by_one = sum(
        (0.5 if step % 5 == 4 else 1) * (units - sum(each <= step for each in freeze_steps))
        for step in range(40)
    )
    assert predict(freezing, profile).seconds == pytest.approx(one_by_one)


def test_what_stores_save_is_taken_off(run):
    storing = method(run, precompute=True, views=1)
    profile = known_profile(len(Stepper(run, loaded(run))))
    plan = StorePlan(builds=((4, 1),), place="host memory", seconds_saved=10.0)
    without, with_stores = predict(storing, profile), predict(storing, profile, plan)
    assert with_stores.seconds == pytest.approx(without.seconds - 10)
    assert describe(storing, None, plan) is None


def test_earlier_freezing_is_predicted_to_save_more(run):
    profile = known_profile(len(Stepper(run, loaded(run))))
    saved = [predict(method(run, t0=t0), profile).saved_percent for t0 in (0.3, 0.5, 0.8, 1.0)]
    assert all(more > less for more, less in pairwise(saved))
    assert saved[-1] == 0
