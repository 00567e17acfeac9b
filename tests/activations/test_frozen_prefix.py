"""What is still to be run of the frozen units."""

import torch

from fobench.activations.frozen_prefix import FrozenPrefix, forward, rounded

UNITS = [lambda x: x + 1 / 3, lambda x: 2 * x, lambda x: x - 1 / 7, lambda x: 3 * x]


def test_units_run_in_order():
    units = [lambda x: x + 1, lambda x: 2 * x]
    assert forward(units, torch.tensor(3)) == 8
    assert forward([], torch.tensor(3)) == 3


def test_nothing_frozen_leaves_the_values():
    values = torch.ones(2)
    assert FrozenPrefix().forward(UNITS, values) is values


def test_units_between_start_and_end_run_and_are_rounded_at_the_cuts():
    values = torch.rand(5)
    assert torch.equal(FrozenPrefix(1, 3).forward(UNITS, values), 2 * values - 1 / 7)
    half = torch.float16
    one = rounded(values + 1 / 3, half)
    two = rounded(2 * one - 1 / 7, half)
    found = FrozenPrefix(0, 4, (1, 3), half).forward(UNITS, values)
    assert torch.equal(found, 3 * two)
    assert not torch.equal(found, FrozenPrefix(0, 4).forward(UNITS, values))


def test_rounding_keeps_the_type_in_which_the_network_computes():
    values = torch.rand(5).bfloat16()
    assert rounded(values, torch.float32).dtype == torch.bfloat16
    assert torch.equal(rounded(values, torch.float32), values)


def test_frozen_units_build_no_graph_for_gradients():
    weight = torch.ones(1, requires_grad=True)
    units = [lambda x: x * weight, lambda x: x * weight]
    assert not FrozenPrefix(0, 1).forward(units, torch.ones(1)).requires_grad
