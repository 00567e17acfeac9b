"""The baseline: cosine annealing, nothing frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fobench.methods.base import EPOCH_SHARE, MethodOptions, RunInfo, Scheduler, share_slug
from fobench.methods.schedulers import ConstantRates, CosineAnnealing

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

WHOLE, SHORTER, CONSTANT = ("black", "*"), ("0.45", "X"), ("0.45", "p")


class BaselineOptions(MethodOptions):
    """Plain cosine annealing; a share below 1 trains fewer steps and anneals to zero over them."""

    name: ClassVar[str] = "baseline"

    epoch_share: float = EPOCH_SHARE
    annealing: Literal["cosine", "constant"] = Field(
        "cosine",
        description='"constant" never anneals: the control of the published code\'s VGG',
    )

    def start(self, network: nn.Sequential, optimizer: Optimizer, info: RunInfo) -> Scheduler:
        steps = self.annealing_steps(info)
        return CosineAnnealing(optimizer, steps) if steps else ConstantRates(optimizer)

    def freeze_steps(self, info: RunInfo) -> list[int]:
        return [info.total_steps] * info.units

    def annealing_steps(self, info: RunInfo) -> int | None:
        return info.total_steps if self.annealing == "cosine" else None

    def learning_rates(self, step: float, info: RunInfo, lr: float) -> list[float]:
        if self.annealing == "constant":
            return [lr] * info.units
        return super().learning_rates(step, info, lr)

    def slug(self) -> str:
        constant = "" if self.annealing == "cosine" else "-constant"
        return f"baseline{constant}{share_slug(self.epoch_share)}"

    def title(self) -> str:
        return "baseline" if self.is_baseline else "baseline at a constant rate"

    def line(self) -> str:
        if self.is_baseline and not self.is_whole_baseline:
            return "baseline trained shorter"
        return super().line()

    def look(self) -> tuple[str, str]:
        if self.is_whole_baseline:
            return WHOLE
        return SHORTER if self.is_baseline else CONSTANT

    @property
    def is_baseline(self) -> bool:
        return self.annealing == "cosine"
