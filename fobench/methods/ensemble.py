"""An ensemble of models trained one after another: the control of snapshot ensembles.

Huang et al. 2017 (arXiv 1704.00109) call it a SingleCycle ensemble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fobench.freezing.schedule import restarted_rate
from fobench.methods.base import EPOCH_SHARE, MethodOptions, RunInfo, Scheduler, share_slug
from fobench.methods.schedulers import CosineCycles, initial_rates

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

LOOK = ("#999933", "8")  # from Paul Tol's muted palette for the colour-blind


class EnsembleOptions(MethodOptions):
    """M baselines, each trained for 1/M of the steps from its own initialisation."""

    name: ClassVar[str] = "ensemble"

    members: int = Field(5, ge=2, le=1000, description="number of models; must divide the epochs")
    epoch_share: float = EPOCH_SHARE

    def start(self, network: nn.Sequential, optimizer: Optimizer, info: RunInfo) -> Scheduler:
        return CosineCycles(optimizer, initial_rates(optimizer), self.annealing_steps(info))

    def freeze_steps(self, info: RunInfo) -> list[int]:
        return [info.total_steps] * info.units

    def learning_rates(self, step: float, info: RunInfo, lr: float) -> list[float]:
        return [restarted_rate(lr, step, self.annealing_steps(info))] * info.units

    def annealing_steps(self, info: RunInfo) -> int:
        return info.total_steps // self.members

    @property
    def ensemble_size(self) -> int:
        return self.members

    @property
    def starts_members_anew(self) -> bool:
        return True

    def slug(self) -> str:
        return f"ensemble-{self.members}{share_slug(self.epoch_share)}"

    def title(self) -> str:
        return f"ensemble of {self.members} independent models"

    def position(self) -> float:
        return self.epoch_share

    def line(self) -> str:
        return self.title()

    def look(self) -> tuple[str, str]:
        return LOOK
