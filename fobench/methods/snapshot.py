"""Snapshot Ensembling (Huang, Li, Pleiss, Liu, Hopcroft, Weinberger 2017, arXiv 1704.00109).

Alone, or with units that freeze at the ends of cycles, as in FreezeOut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from fobench.freezing import schedule
from fobench.freezing.schedule import SCALINGS, restarted_rate
from fobench.methods.base import (
    EPOCH_SHARE,
    MAX_RATE,
    MethodOptions,
    RunInfo,
    Scheduler,
    share_slug,
)
from fobench.methods.ensemble import EnsembleOptions
from fobench.methods.schedulers import CosineCycles, FreezingCycles, rates_of_groups
from fobench.methods.store_options import StoreOptions

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

# Without freezing, and by scaling; from Paul Tol's muted palette for the colour-blind.
LOOKS = {
    "none": ("#882255", "<"),
    "linear": ("#AA4499", "d"),
    "squared": ("#DDCC77", "h"),
    "cubic": ("#332288", ">"),
}


class SnapshotOptions(StoreOptions, MethodOptions):
    """One network in cosine cycles with warm restarts; the ensemble of its weights at their ends.

    With a `scaling`, unit i freezes at the first end of a cycle at or after its freeze time, and
    its rate follows the cycles until then.
    """

    name: ClassVar[str] = "snapshot"

    cycles: int = Field(
        5, ge=2, le=1000, description="number of cycles and of snapshots; must divide the epochs"
    )
    lr: float = Field(
        0.2, gt=0, le=MAX_RATE, description="learning rate at the start of each cycle"
    )
    scaling: Literal["none", "linear", "squared", "cubic"] = Field(
        "none", description='how freeze times are scaled: t, t² or t³; "none": nothing freezes'
    )
    scale_lr: bool = Field(
        True,
        description="start the cycles of unit i at lr · cycles / (cycles that it trains), so that "
        "the sum of its rates over the run is about the same for all units",
    )
    t0: float = Field(
        0.8,
        gt=0,
        le=1,
        description="freeze time of the first unit before scaling, as a share of the run",
    )
    epoch_share: float = EPOCH_SHARE
    keep_snapshots: bool = Field(
        False, description="keep the snapshots in the file snapshots.pt of the run"
    )

    @field_validator("scaling", "scale_lr", "t0")
    @classmethod
    def _options_of_freezing_need_a_scaling(cls, value: Any, info: ValidationInfo) -> Any:
        key, scaling = info.field_name, info.data.get("scaling")
        problem = (
            '{}: nothing freezes with scaling = "none"; set scaling in the same [[method]] table, '
            'and "none" in a table of its own'
        )
        if key == "scaling" and value == "none":
            given = [each for each in ("views", "precompute") if info.data.get(each)]
            if given:
                raise ValueError("\n".join(map(problem.format, given)))
        elif scaling == "none" and value != cls.model_fields[key].default:
            raise ValueError(problem.format(key))
        elif key == "t0" and scaling in SCALINGS and SCALINGS[scaling](value) == 0:
            raise ValueError(
                f"t0 = {value}: its {scaling} scaling is 0 in floating point; raise it"
            )
        return value

    def start(self, network: nn.Sequential, optimizer: Optimizer, info: RunInfo) -> Scheduler:
        rates = rates_of_groups(network, optimizer, self.restart_rates(info))
        cycle_steps = info.total_steps // self.cycles
        if not self.freezes:
            return CosineCycles(optimizer, rates, cycle_steps)
        return FreezingCycles(network, optimizer, rates, cycle_steps, self.freeze_steps(info))

    @property
    def freezes(self) -> bool:
        return self.scaling != "none"

    def cycles_trained(self, info: RunInfo) -> list[int]:
        """The cycles that each unit trains: `ceil(t_i · M)`, so that none is cut short."""
        if not self.freezes:
            return [self.cycles] * info.units
        times = schedule.freeze_times(info.units, self.t0, self.scaling)
        return schedule.freeze_steps(times, self.cycles)  # counted in cycles

    def freeze_steps(self, info: RunInfo) -> list[int]:
        cycle_steps = info.total_steps // self.cycles
        return [cycles * cycle_steps for cycles in self.cycles_trained(info)]

    def restart_rates(self, info: RunInfo) -> list[float]:
        """The rate of each unit at the start of its cycles."""
        if not self.scale_lr:
            return [self.lr] * info.units
        return [self.lr * (self.cycles / trained) for trained in self.cycles_trained(info)]

    def learning_rates(self, step: float, info: RunInfo, lr: float) -> list[float]:
        cycle_steps = info.total_steps // self.cycles
        return [restarted_rate(rate, step, cycle_steps) for rate in self.restart_rates(info)]

    def annealing_steps(self, info: RunInfo) -> int:
        return info.total_steps // self.cycles

    @property
    def ensemble_size(self) -> int:
        return self.cycles

    @property
    def keeps_members(self) -> bool:
        return self.keep_snapshots

    def unfrozen(self) -> MethodOptions | None:
        if not self.freezes:
            return None
        return SnapshotOptions(cycles=self.cycles, lr=self.lr)

    def is_share_of(self, method: MethodOptions | None) -> bool:
        # What is kept on disk does not change the training.
        return super(SnapshotOptions, self.replace(keep_snapshots=False)).is_share_of(method)

    def control(self, family: str) -> MethodOptions | None:
        # Those trained for fewer steps are there for others to be compared with.
        return EnsembleOptions(members=self.cycles) if self.epoch_share == 1 else None

    def slug(self) -> str:
        scaled = "scaled" if self.scale_lr else "unscaled"
        freezing = f"-{self.scaling}-{scaled}-t{self.t0:.2f}" if self.freezes else ""
        share = share_slug(self.epoch_share)
        return f"snapshot-{self.cycles}-lr{self.lr:g}{freezing}{share}{self.stores_slug()}"

    def title(self) -> str:
        rates = "scaled" if self.scale_lr else "unscaled"
        freezing = f", FreezeOut {self.scaling}, {rates} rates" if self.freezes else ""
        return f"{self.cycles} snapshots, lr {self.lr:g}{freezing}{self.stores_note()}"

    @property
    def point_meaning(self) -> str:
        return "t0" if self.freezes else super().point_meaning

    def point(self) -> str:
        return f"{self.t0:g}" if self.freezes else super().point()

    def position(self) -> float:
        return self.t0 if self.freezes else self.epoch_share

    def line(self) -> str:
        # Those trained for fewer steps are what freezing has to beat.
        return super().line() if self.freezes else self.title()

    def label(self) -> str:
        return super().label() + (f", t0 = {self.t0:g}" if self.freezes else "")

    def look(self) -> tuple[str, str]:
        return LOOKS[self.scaling]
