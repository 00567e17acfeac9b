"""Ranks add up gradients of the same parameters, or none."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from fobench.errors import UserError
from fobench.machine.ranks import Ranks
from fobench.training.gradients import Gradients


class WithTwin(Ranks):
    """The first of two ranks; the other has the same gradients, of the parameters `unused` none."""

    def __init__(self, unused: set[int]) -> None:
        super().__init__(0, 2)
        self._unused = unused

    def gather_objects(self, value: Any) -> list[Any]:
        return [value, self._unused]

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        for each in tensors:
            each *= 2


def parameters(with_gradients: set[int]) -> list[nn.Parameter]:
    found = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    for number in with_gradients:
        found[number].grad = torch.ones(2)
    return found


def test_gradients_are_added_up_also_if_a_parameter_is_never_used():
    here = parameters({0, 2})
    Gradients(here, WithTwin(unused={1})).add_up()
    assert here[0].grad.tolist() == here[2].grad.tolist() == [2.0, 2.0]
    assert here[1].grad is None


def test_other_parameters_in_another_rank_are_refused():
    with pytest.raises(UserError, match=r"skipped at random.*train this network in one"):
        Gradients(parameters({0, 2}), WithTwin(unused={0})).add_up()


def test_a_parameter_without_a_gradient_in_a_later_step_is_refused_unless_it_is_frozen():
    here = parameters({0, 1, 2})
    gradients = Gradients(here, WithTwin(unused=set()))
    gradients.add_up()
    here[0].requires_grad_(False).grad = None
    gradients.add_up()
    here[1].grad = None
    with pytest.raises(UserError, match="skipped at random"):
        gradients.add_up()
