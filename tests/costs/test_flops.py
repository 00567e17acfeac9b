"""Costs of units counted by hand, and savings on known answers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench import models
from fobench.costs.flops import (
    describe,
    flops_saved_percent,
    freeze_steps_of,
    paper_saved_percent,
    paper_step_cost,
    run_flops,
    step_flops,
)
from fobench.costs.unit_costs import UnitCost, unit_costs, unit_costs_of
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.methods import BaselineOptions, FreezeOutOptions


def test_unit_costs_are_those_counted_by_hand():
    network = models.build("densenet", 10, depth=10, growth_rate=4)
    costs = {each.name: each for each in unit_costs(network, (32, 32, 3))}
    assert list(costs) == [name for name, _ in network.named_children()]
    # 3x3 convolution from 3 to 8 channels: a multiply and an add per weight and pixel.
    assert costs["conv"].flops == 2 * (3 * 3 * 3 * 8) * 32 * 32
    assert costs["conv"].activation_bytes == 4 * 8 * 32 * 32
    assert costs["conv"].parameters == 3 * 3 * 3 * 8
    # 1x1 from 8 to 16, 3x3 from 16 to 4, the input concatenated with the 4 new channels.
    assert costs["block1_layer1"].flops == 2 * (8 * 16 + 3 * 3 * 16 * 4) * 32 * 32
    assert costs["block1_layer1"].activation_bytes == 4 * 12 * 32 * 32
    assert costs["transition1"].flops == 2 * (12 * 6) * 32 * 32
    assert costs["transition1"].activation_bytes == 4 * 6 * 16 * 16
    assert costs["head"].activation_bytes == 4 * 10
    assert sum(each.parameters for each in costs.values()) == sum(
        parameter.numel() for parameter in network.parameters()
    )


def test_unit_costs_of_the_other_families_are_those_counted_by_hand():
    network = models.build("wideresnet", 10, depth=10, width=2)
    costs = {each.name: each for each in unit_costs(network, (32, 32, 3))}
    # Two 3x3 convolutions, from 32 to 64 channels with stride 2 and from 64 to 64, on 16 by 16
    # pixels, and the 1x1 of the shortcut.
    weights = 3 * 3 * 32 * 64 + 3 * 3 * 64 * 64 + 32 * 64
    assert costs["group2_block1"].flops == 2 * weights * 16 * 16
    # And scale and shift of the BatchNorm before each of the two.
    assert costs["group2_block1"].parameters == weights + 2 * 32 + 2 * 64
    network = models.build("vgg", 10, width=0.25)
    costs = {each.name: each for each in unit_costs(network, (32, 32, 3))}
    # A 3x3 convolution from 16 to 32 channels, on 16 by 16 pixels.
    assert costs["conv2_1"].flops == 2 * (3 * 3 * 16 * 32) * 16 * 16
    # Linear layers from 128 channels of one pixel through 128 and 128, a quarter of 512, to 10.
    assert costs["head"].flops == 2 * (128 * 128 + 128 * 128 + 128 * 10)
    assert costs["head"].convolution_flops == 0


def test_the_papers_estimate_is_that_of_its_formula():
    """A step's cost: all units forward and the active ones backward, by convolutions alone."""
    costs = [replace(unit(0, 7, 7), convolution_flops=each) for each in (10, 30, 60)]
    assert [paper_step_cost(costs, frozen) for frozen in range(3)] == [1, 0.95, 0.8]
    assert paper_step_cost([unit(0, 1, 1)], 0) == 1


def test_the_papers_estimate_of_a_run_equals_the_sum_over_units(tiny):
    """C_f = Σ c_i + Σ c_i·t_i, beside C = 2·Σ c_i, as the published code writes it."""
    run = expand(load(tiny), open_synthetic("synthetic", 55, 20))[2]
    costs = unit_costs_of(run)
    shares = [min(step, run.total_steps) / run.total_steps for step in freeze_steps_of(run)]
    convolutions = [each.convolution_flops for each in costs]
    trained = sum(each * share for each, share in zip(convolutions, shares, strict=True))
    saved = 100 * (1 - (sum(convolutions) + trained) / (2 * sum(convolutions)))
    assert paper_saved_percent(run, costs) == pytest.approx(saved)
    assert describe(run)["predictions"]["paper_saved_percent"] == pytest.approx(saved)


def test_backward_flops_are_those_counted_by_hand():
    """Each convolution's backward pass has a gradient of weights and one of inputs, each as much
    work as forward; only a unit that begins with its convolution saves that of the inputs."""
    for family, options, bare in (
        ("densenet", {"depth": 10, "growth_rate": 4}, {"conv"}),
        ("vgg", {"width": 0.05}, {f"conv{stage}_{n}" for stage in range(1, 6) for n in (1, 2, 3)}),
        ("wideresnet", {"depth": 10, "width": 1}, {"conv"}),
    ):
        for each in unit_costs(models.build(family, 10, **options), (32, 32, 3)):
            first = 1 if each.name in bare or (family, each.name) == ("vgg", "head") else 2
            if (family, each.name) != ("vgg", "head"):
                assert each.first_backward_flops == first * each.flops, (family, each.name)
            assert each.backward_flops == 2 * each.flops, (family, each.name)


def unit(flops: int, backward: int, first: int) -> UnitCost:
    return UnitCost("unit", 0, flops, backward, first, 0, convolution_flops=flops)


def test_step_flops_leave_out_what_is_frozen():
    costs = [unit(1, 2, 1), unit(10, 20, 15), unit(100, 200, 180)]
    assert step_flops(costs, 0) == 111 + 1 + 20 + 200
    assert step_flops(costs, 1) == 111 + 15 + 200
    assert step_flops(costs, 2) == 111 + 180


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 30))
def test_run_flops_sum_over_the_steps(steps, total):
    flops = [unit(3**power, 2 * 3**power, 3**power) for power in range(len(steps) + 1)]
    freeze_steps = [*sorted(steps), total]
    freeze_steps = [min(step, total) for step in freeze_steps]
    one_by_one = sum(
        step_flops(flops, sum(step <= now for step in freeze_steps)) for now in range(total)
    )
    assert run_flops(flops, freeze_steps, total) == pytest.approx(one_by_one)


def test_saving_of_known_runs(tiny):
    run = expand(load(tiny), open_synthetic("synthetic", 55, 20))[0]
    flops = [unit(1, 2, 1)] * 7
    assert flops_saved_percent(run, flops) == 0
    never = replace(run, method=FreezeOutOptions(t0=1.0))
    assert flops_saved_percent(never, flops) == 0
    half = replace(run, method=BaselineOptions(epoch_share=0.6))
    assert flops_saved_percent(half, flops) == pytest.approx(40)
    early = replace(run, method=FreezeOutOptions(t0=0.3))
    late = replace(run, method=FreezeOutOptions(t0=0.9))
    assert flops_saved_percent(early, flops) > flops_saved_percent(late, flops) > 0


def test_the_unit_table_shows_when_each_unit_freezes(tiny):
    run = expand(load(tiny), open_synthetic("synthetic", 55, 20))[2]
    units = describe(run)["units"]
    # Linear from 0.3 over seven units in 15 steps: 4.5, 6.25, 8, 9.75, 11.5, 13.25 rounded up.
    assert [unit["freeze_step"] for unit in units] == [5, 7, 8, 10, 12, 14, None]
