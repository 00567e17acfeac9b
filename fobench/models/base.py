"""The interface of networks, and of families of them."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fobench.validation import Options

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """A network that was found equal to its units: their names, and notes on the cut."""

    units: tuple[str, ...]
    notes: tuple[str, ...]

    def log(self, name: str, when: str = "") -> None:
        """Log what was found of the network of that name, and when."""
        found = "equal to the uncut network bit for bit"
        log.info("%s: %d units, %s%s", name, len(self.units), found, when)
        for note in self.notes:
            log.warning("%s: %s", name, note)


class NetworkOptions(Options):
    """The options of the [model] table, and the network that they describe."""

    name: ClassVar[str]
    smallest_image: ClassVar[int]  # pixels per side

    @abstractmethod
    def slug(self) -> str:
        """Its part of run ids."""

    @abstractmethod
    def title(self) -> str:
        """Its name in figures and tables."""

    def described(self) -> dict[str, Any]:
        """The network as written to records: its name, its options, what else it depends on."""
        return {"name": self.name, **self.as_dict()}

    def identity(self) -> list[Any]:
        """Its part of what the hash in run ids covers."""
        return [self.name, self.non_defaults()]

    @abstractmethod
    def build(self, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Sequential:
        """A newly initialised network of its units; weights from torch's random state.

        Maps images [N, C, H, W] to logits [N, num_classes]; `image_shape` is (H, W, C).
        """

    def build_on_meta(self, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Sequential:
        """The network without memory for its weights, on the meta device."""
        import torch

        with torch.device("meta"):
            return self.build(num_classes, image_shape)

    def require_buildable(
        self, num_classes: int, image_shape: tuple[int, int, int]
    ) -> Comparison | None:
        """The comparison with its units of a network that is cut into them; None for others.

        Raises UserError if the network cannot be built for these images.
        """
        return None


class ModelOptions(NetworkOptions):
    """The options of a family of networks that are written here as their units."""

    @abstractmethod
    def units(self, num_classes: int, in_channels: int) -> dict[str, nn.Module]:
        """The units by name, in forward order; the head is the last."""

    def build(self, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Sequential:
        from collections import OrderedDict

        from torch import nn

        from fobench.models.initialise import initialise

        network = nn.Sequential(OrderedDict(self.units(num_classes, image_shape[2])))
        initialise(network)
        return network


def check_depth(depth: int) -> int:
    """A validator of the depth of networks that have n blocks in each of three stages."""
    if depth % 6 == 4:
        return depth
    lower = (depth - 4) // 6 * 6 + 4
    raise ValueError(f"depth = {depth}: give 6·n + 4, such as {lower} or {lower + 6}")
