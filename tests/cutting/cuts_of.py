"""Examples and their units, each recorded once."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from fobench.cutting.cut import cut_network
from fobench.cutting.cut_network import CutNetwork
from tests.cutting.networks import EXAMPLES


@cache
def _cut(name: str) -> CutNetwork:
    example = EXAMPLES[name]
    pytest.importorskip(example.needs)
    torch.manual_seed(0)
    return cut_network(example.make(), example.image_shape, check=False)


def pair_of(name: str) -> tuple[nn.Module, CutNetwork]:
    """A network, and the units of another that is its copy."""
    cut = _cut(name)
    example = EXAMPLES[name]
    torch.manual_seed(0)
    whole = example.make()
    whole.load_state_dict(cut.state_dict())
    return whole, copy.deepcopy(cut)
