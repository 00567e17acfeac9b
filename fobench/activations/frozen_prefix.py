"""The forward pass of frozen units, from pixels or stored activations."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from fobench.machine.values import Values, map_values


@dataclass(frozen=True)
class FrozenPrefix:
    """The frozen units that still have to run: those from `start` to `end`.

    Activations are rounded to `dtype` at each of the `cuts` between.
    """

    start: int = 0
    end: int = 0
    cuts: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32

    @torch.no_grad()
    def forward(self, units: Sequence[nn.Module], values: Values) -> Values:
        """The input of unit `end`, given that of unit `start`. `units` are all of the network."""
        for start, cut in pairwise((self.start, *self.cuts)):
            values = rounded(forward(units[start:cut], values), self.dtype)
        return forward(units[(self.start, *self.cuts)[-1] : self.end], values)


def rounded(values: Values, dtype: torch.dtype) -> Values:
    """The values as a store of that type would return them."""
    return map_values(lambda each: each.to(dtype).to(each.dtype), values)


def forward(units: Sequence[nn.Module], x: Values) -> Values:
    """The output of the units, run one after another."""
    for unit in units:
        x = unit(x)
    return x
