"""What every method tells of itself, and does in a training step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field

from fobench.freezing.schedule import learning_rate
from fobench.methods.stores import NO_STORES, StoreOptions
from fobench.options import Options

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    MakeOptimizer = Callable[[Iterable[Any]], Optimizer]

# Colour and marker of a method that chooses none, of Okabe and Ito's for the colour-blind.
DEFAULT_LOOK = ("#F0E442", "h")
EPOCH_SHARE: Any = Field(1.0, gt=0, le=1, description="share of the epochs' steps that are trained")


@dataclass(frozen=True)
class RunInfo:
    """What a method knows of the run that it serves, before training."""

    units: int
    total_steps: int
    family: str


class Scheduler(Protocol):
    """What a method does while a run trains."""

    @property
    def frozen(self) -> int:
        """How many units, counted from the first, are frozen now."""

    def step(self) -> None:
        """Called before each training step: set its learning rates, freeze what is due."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class MethodOptions(Options):
    """The options of a [[method]] table, and all that the rest of fobench asks a method.

    A method has the option `epoch_share: float = EPOCH_SHARE`, the share of the whole baseline's
    steps that it trains.
    """

    name: ClassVar[str]
    point_is: ClassVar[str] = "share of the steps"  # what `point` shows

    epoch_share: float

    @abstractmethod
    def start(
        self, network: nn.Sequential, make_optimizer: MakeOptimizer, info: RunInfo
    ) -> tuple[Optimizer, Scheduler]:
        """The optimizer of a run, its parameter groups as the method needs them, and the method's
        scheduler, before the first step.

        `make_optimizer` takes parameters or parameter groups, as torch's optimizers do.
        """

    @abstractmethod
    def freeze_steps(self, info: RunInfo) -> list[int]:
        """The first step at which each unit is frozen; the total steps for a unit that never is."""

    def learning_rates(self, step: float, info: RunInfo, lr: float) -> list[float]:
        """The rate of each unit at a step while it is active, from the configured rate `lr`."""
        return [learning_rate(lr, 1.0, step / info.total_steps)] * info.units

    def annealing_steps(self, info: RunInfo) -> int | None:
        """The steps over which the rates are annealed to zero; None if they never are."""
        return info.total_steps

    @property
    def matches_time(self) -> bool:
        """Whether it trains the further steps that its saving by FLOPs pays for."""
        return False

    @property
    def stores(self) -> StoreOptions:
        """Its options on fixed views and stores of activations."""
        return NO_STORES

    def control(self, family: str) -> MethodOptions | None:
        """A method to compare this one with beside the baseline, where it needs one."""
        return None

    @abstractmethod
    def slug(self) -> str:
        """The method in a run id."""

    @abstractmethod
    def title(self) -> str:
        """The method in figures and tables, without its share of the steps and its `point`."""

    def point(self) -> str:
        """What tells a variant from the others on its line in a figure."""
        return "" if self.epoch_share == 1 else f"{self.epoch_share:.0%}"

    def position(self) -> float:
        """Where a variant stands on its line in a figure, in ascending order."""
        return 0.0

    def line(self) -> str:
        """The name of a line in a figure, for variants that differ in their `point` alone."""
        return f"{self.title()}{share_note(self.epoch_share)}"

    def label(self) -> str:
        """The name of a variant in tables."""
        return f"{self.title()}{share_note(self.epoch_share)}"

    def look(self) -> tuple[str, str]:
        """Colour and marker in figures; lines of the same look are told apart by dash and fill."""
        return DEFAULT_LOOK

    @property
    def is_baseline(self) -> bool:
        """Whether it is on the line to beat: the plain baseline, whole or trained shorter."""
        return False

    @property
    def is_whole_baseline(self) -> bool:
        return self.is_baseline and self.epoch_share == 1


def share_note(epoch_share: float) -> str:
    return "" if epoch_share == 1 else f", {epoch_share:.0%} of the steps"


def share_slug(epoch_share: float) -> str:
    return "" if epoch_share == 1 else f"-share{epoch_share:.2f}"
