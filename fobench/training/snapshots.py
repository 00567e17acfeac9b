"""Snapshots of a network's weights in training: the members of the run's ensemble."""

import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fobench.experiment.run import Run
from fobench.records.files import write_bytes

FILE = "snapshots.pt"
FORMAT = 1


class Snapshots:
    """The members of a run's ensemble so far: the network at the ends of equal parts of the run.

    Their weights are held in the host's memory. The units that were frozen while a member was
    trained are those of the member before: the same tensors.

    Attributes:
        weights: a `state_dict` for each member.
        frozen: how many units were frozen while each was trained.
    """

    def __init__(self, run: Run) -> None:
        self._size = run.method.ensemble_size
        self._part = run.total_steps // self._size
        self.weights: list[dict[str, torch.Tensor]] = []
        self.frozen: list[int] = []

    def __len__(self) -> int:
        return len(self.weights)

    def starts_member(self, step: int) -> bool:
        """Whether a member other than the first starts with that step, counted from 0."""
        return self._size > 1 and step > 0 and step % self._part == 0

    def ends_member(self, steps: int) -> bool:
        """Whether a member ends after as many steps."""
        return self._size > 1 and steps % self._part == 0

    def take(self, network: nn.Sequential, frozen: int) -> None:
        """Add the network with its first `frozen` units frozen. Waits for the device."""
        units = list(network)[:frozen]
        shared = {id(each) for unit in units for each in (*unit.parameters(), *unit.buffers())}
        taken = {}
        for key, each in network.state_dict(keep_vars=True).items():
            if id(each) in shared:
                taken[key] = self.weights[-1][key]
            elif isinstance(each, torch.Tensor):
                taken[key] = each.detach().to("cpu", copy=True)
            else:  # what a module's get_extra_state gives
                taken[key] = copy.deepcopy(each)
        self.weights.append(taken)
        self.frozen.append(frozen)

    def state_dict(self) -> dict[str, Any]:
        return {"weights": list(self.weights), "frozen": list(self.frozen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights, self.frozen = list(state["weights"]), list(state["frozen"])


def save(folder: Path, run: Run, members: Sequence[dict[str, torch.Tensor]]) -> None:
    """Write the members to a file for `torch.load(…, weights_only=True)`; shared tensors once.

    Raises UserError if it cannot be written.
    """
    file = io.BytesIO()
    torch.save({"format": FORMAT, "run": run.id, "members": list(members)}, file)
    write_bytes(folder / FILE, file.getbuffer())
