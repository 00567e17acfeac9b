"""The interface of methods: options, and a scheduler that acts in each training step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field

from fobench.freezing.schedule import learning_rate
from fobench.methods.store_options import NO_STORES, StoreOptions
from fobench.validation import Options

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

# Default colour and marker; Okabe and Ito's palette for the colour-blind.
DEFAULT_LOOK = ("#F0E442", "h")
# Divided by the smallest freeze time, it still fits into float32.
MAX_RATE = 1e6
EPOCH_SHARE: Any = Field(1.0, gt=0, le=1, description="share of the steps that are trained")


@dataclass(frozen=True)
class RunInfo:
    """What a method knows about its run before training."""

    units: int
    total_steps: int
    family: str


class Scheduler(Protocol):
    """The part of a method that acts during training."""

    @property
    def frozen(self) -> int:
        """Number of units, counted from the first, that are frozen now."""

    def step(self) -> None:
        """Called before each training step: set learning rates, freeze the units that are due.

        It sets the rate of every parameter group each time: a warm-up multiplies them afterwards.
        """

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class MethodOptions(Options):
    """The options of a [[method]] table, and everything that fobench needs to know about a method.

    Every method declares `epoch_share: float = EPOCH_SHARE`, the share of the whole baseline's
    steps that it trains.
    """

    name: ClassVar[str]

    epoch_share: float

    @abstractmethod
    def start(self, network: nn.Sequential, optimizer: Optimizer, info: RunInfo) -> Scheduler:
        """What acts in each step.

        Each parameter group of the optimizer belongs to a unit. A unit can have several, such as
        one without weight decay; `fobench.methods.schedulers.rates_of_groups` finds whose is whose.
        """

    @abstractmethod
    def freeze_steps(self, info: RunInfo) -> list[int]:
        """The first step at which each unit is frozen; `total_steps` if it never freezes."""

    def learning_rates(self, step: float, info: RunInfo, lr: float) -> list[float]:
        """The rate of each unit at a step while it is active, given the configured `lr`."""
        return [learning_rate(lr, 1.0, step / info.total_steps)] * info.units

    def annealing_steps(self, info: RunInfo) -> int | None:
        """The steps over which the rates are annealed to zero, in each cycle; None if never."""
        return info.total_steps

    @property
    def ensemble_size(self) -> int:
        """The number M of members of the ensemble that its test error is of; 1 for a single model.

        The members are the network at the ends of M equal parts of the run.
        """
        return 1

    @property
    def starts_members_anew(self) -> bool:
        """Whether each member starts from its own initialisation, not from the one before."""
        return False

    def steps_of_a_start(self, total_steps: int) -> int:
        """The steps from initial weights on, of a run: all, or those of a member started anew."""
        return total_steps // self.ensemble_size if self.starts_members_anew else total_steps

    @property
    def keeps_members(self) -> bool:
        """Whether the weights of the members stay on disk."""
        return False

    @property
    def matches_time(self) -> bool:
        """Whether it trains additional steps that its saved FLOPs pay for."""
        return False

    @property
    def stores(self) -> StoreOptions:
        """Its options for fixed views and stores of activations."""
        return NO_STORES

    def unfrozen(self) -> MethodOptions | None:
        """The same ensemble with all units active, over all steps; None if nothing freezes in it.

        Trained for fewer steps, it is what an ensemble whose members freeze has to beat.
        """
        return None

    def is_share_of(self, method: MethodOptions | None) -> bool:
        """Whether it trains as that method does, for some share of the steps."""
        return type(self) is type(method) and self.replace(epoch_share=1.0) == method

    def control(self, family: str) -> MethodOptions | None:
        """An additional method, besides the baseline, to compare this one with, if needed."""
        return None

    @abstractmethod
    def slug(self) -> str:
        """Its part of run ids."""

    @abstractmethod
    def title(self) -> str:
        """Its name in figures and tables, without its share of the steps and its `point`."""

    @property
    def point_meaning(self) -> str:
        """The meaning of `point`."""
        return "share of the steps"

    def point(self) -> str:
        """The text that distinguishes a variant from the others on its line in a figure."""
        return "" if self.epoch_share == 1 else percent(self.epoch_share)

    def position(self) -> float:
        """The sort key of a variant on its line in a figure."""
        return 0.0

    def line(self) -> str:
        """The name of a line in a figure; its variants differ only in their `point`."""
        return f"{self.title()}{share_note(self.epoch_share)}"

    def label(self) -> str:
        """The name of a variant in tables."""
        return f"{self.title()}{share_note(self.epoch_share)}"

    def look(self) -> tuple[str, str]:
        """Colour and marker in figures; lines of one colour get markers and dashes of their own."""
        return DEFAULT_LOOK

    @property
    def is_baseline(self) -> bool:
        """Whether it is on the line to beat: the plain baseline, whole or trained shorter."""
        return False

    @property
    def is_whole_baseline(self) -> bool:
        return self.is_baseline and self.epoch_share == 1


def share_note(epoch_share: float) -> str:
    return "" if epoch_share == 1 else f", {percent(epoch_share)} of the steps"


def percent(share: float) -> str:
    """Such as "85%" or "12.5%"."""
    return f"{100 * share:.4g}%"


def share_slug(epoch_share: float) -> str:
    return "" if epoch_share == 1 else f"-share{epoch_share:.2f}"
