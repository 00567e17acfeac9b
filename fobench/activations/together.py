"""Chunks of images that ranks compute for each other, to store them all."""

import torch

from fobench.machine.ranks import Ranks
from fobench.machine.values import Values, tensors_of


def own_chunks(count: int, ranks: Ranks) -> list[int]:
    """The numbers of the chunks that this rank computes: in each turn the ranks have the next ones.

    Where none is left in the last turn, it is the last one again.
    """
    return [min(first + ranks.rank, count - 1) for first in range(0, count, ranks.count)]


def of_all_ranks(values: Values, dtype: torch.dtype, ranks: Ranks) -> list[Values]:
    """The values of each rank, sent in the type in which they are stored."""
    if ranks.count == 1:
        return [values]
    gathered = [ranks.gather(each.to(dtype)) for each in tensors_of(values)]
    found = list(zip(*gathered, strict=True))
    return found if isinstance(values, tuple) else [each for (each,) in found]
