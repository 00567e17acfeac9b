"""FreezeOut (Brock, Lim, Ritchie, Weston 2017, arXiv 1706.04983)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from fobench.freezing import schedule
from fobench.freezing.schedule import SCALINGS
from fobench.methods.base import (
    EPOCH_SHARE,
    MethodOptions,
    RunInfo,
    Scheduler,
    share_slug,
)
from fobench.methods.baseline import BaselineOptions
from fobench.methods.schedulers import ConstantRates, rates_of_groups
from fobench.methods.store_options import StoreOptions

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

# Ensures that a rate divided by a freeze time fits into float32.
MIN_FREEZE_TIME = 1e-9
# Networks for which the published code never advances the step counter, so that rates stay constant
# and no unit freezes.
REFERENCE_NEVER_ANNEALS = frozenset({"vgg"})
# By scaling and scale_lr; Okabe and Ito's palette for the colour-blind.
LOOKS = {
    ("linear", False): ("#E69F00", "o"),
    ("linear", True): ("#D55E00", "s"),
    ("squared", False): ("#56B4E9", "v"),
    ("squared", True): ("#CC79A7", "P"),
    ("cubic", False): ("#009E73", "^"),
    ("cubic", True): ("#0072B2", "D"),
}


class FreezeOutOptions(StoreOptions, MethodOptions):
    """Each unit's rate is annealed to zero on its own schedule, then the unit is frozen."""

    name: ClassVar[str] = "freezeout"

    scaling: Literal["linear", "squared", "cubic"] = Field(
        "cubic", description="how freeze times are scaled: t, t² or t³"
    )
    scale_lr: bool = Field(
        True,
        description="start unit i at lr / t_i, so that the sum of its rates over the run is about "
        "the same for all units",
    )
    t0: float = Field(
        0.8,
        gt=0,
        le=1,
        description="freeze time of the first unit before scaling, as a share of the run",
    )
    epoch_share: float = EPOCH_SHARE
    match_time: bool = Field(
        False, description="train as many more steps as the saved FLOPs pay for"
    )
    compat: Literal["none", "reference"] = Field(
        "none", description='"reference": count steps as the published code does'
    )

    @field_validator("t0")
    @classmethod
    def _first_unit_trains(cls, t0: float, info: ValidationInfo) -> float:
        scaling = info.data.get("scaling")
        if scaling is None or SCALINGS[scaling](t0) >= MIN_FREEZE_TIME:
            return t0
        raise ValueError(f"t0 = {t0}: the first unit would freeze at once; raise it")

    def start(self, network: nn.Sequential, optimizer: Optimizer, info: RunInfo) -> Scheduler:
        from fobench.freezing.freezeout import FreezeOut

        steps = self.annealing_steps(info)
        if steps is None:
            lr = optimizer.param_groups[0]["initial_lr"]
            rates = rates_of_groups(network, optimizer, self.initial_rates(info, lr))
            return ConstantRates(optimizer, rates)
        return FreezeOut(network, optimizer, steps, self.t0, self.scaling, self.scale_lr)

    def freeze_times(self, info: RunInfo) -> list[float]:
        return schedule.freeze_times(info.units, self.t0, self.scaling)

    def freeze_steps(self, info: RunInfo) -> list[int]:
        steps = self.annealing_steps(info)
        if steps is None:
            return [info.total_steps] * info.units
        freeze_steps = schedule.freeze_steps(self.freeze_times(info), steps)
        return [min(step, info.total_steps) for step in freeze_steps]

    def annealing_steps(self, info: RunInfo) -> int | None:
        if not self.anneals(info.family):
            return None
        reference = self.compat == "reference"
        return schedule.reference_steps(info.total_steps) if reference else info.total_steps

    def anneals(self, family: str) -> bool:
        return self.compat == "none" or family not in REFERENCE_NEVER_ANNEALS

    def initial_rates(self, info: RunInfo, lr: float) -> list[float]:
        return [lr / time if self.scale_lr else lr for time in self.freeze_times(info)]

    def learning_rates(self, step: float, info: RunInfo, lr: float) -> list[float]:
        initial, steps = self.initial_rates(info, lr), self.annealing_steps(info)
        if steps is None:
            return initial
        times = self.freeze_times(info)
        return [
            schedule.learning_rate(rate, time, step / steps)
            for rate, time in zip(initial, times, strict=True)
        ]

    @property
    def matches_time(self) -> bool:
        return self.match_time

    def control(self, family: str) -> MethodOptions | None:
        if self.anneals(family):
            return None
        return BaselineOptions(annealing="constant", epoch_share=self.epoch_share)

    def slug(self) -> str:
        scaled = "scaled" if self.scale_lr else "unscaled"
        notes = share_slug(self.epoch_share) + "-matched" * self.match_time
        notes += "" if self.compat == "none" else f"-{self.compat}"
        return f"freezeout-{self.scaling}-{scaled}-t{self.t0:.2f}{notes}{self.stores_slug()}"

    def title(self) -> str:
        rates = "scaled" if self.scale_lr else "unscaled"
        without = " without a store" if self.precompute else ""
        notes = f", equal FLOPs{without}" if self.match_time else ""
        notes += "" if self.compat == "none" else f", as the {self.compat} code does"
        return f"FreezeOut {self.scaling}, {rates} rates{notes}{self.stores_note()}"

    @property
    def point_meaning(self) -> str:
        return "t0"

    def point(self) -> str:
        return f"{self.t0:g}"

    def position(self) -> float:
        return self.t0

    def label(self) -> str:
        return f"{super().label()}, t0 = {self.t0:g}"

    def look(self) -> tuple[str, str]:
        return LOOKS[self.scaling, self.scale_lr]
