"""Two ranks in one process."""

from collections.abc import Sequence
from typing import Any

import torch

from fobench.machine.ranks import RanksOfGroup


class Twins(RanksOfGroup):
    """A rank of two, of which the other computes what this one does."""

    def add_joined(self, joined: torch.Tensor) -> None:
        joined.mul_(2)

    def copy_from_first(self, tensors: Sequence[torch.Tensor]) -> None: ...

    def gather_objects(self, value: Any) -> list[Any]:
        return [value, value]
