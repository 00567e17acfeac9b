"""The gradients of a network that several ranks train together: each has those of its images."""

from collections.abc import Sequence

from torch import nn

from fobench.errors import UserError
from fobench.machine.ranks import ALONE, Ranks

SKIPPED = (
    "gradients differ in which parameters they are of, from process to process or from step to "
    "step, as those of layers that are skipped at random do: several processes cannot add them up, "
    "so train this network in one"
)


class Gradients:
    """Those of `parameters`, all of a network's. Frozen units have none, and cost no traffic.

    Which parameters have a gradient must not differ between ranks: else the sums would be of
    different things. It is compared once, and must stay so, but for what is frozen.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], ranks: Ranks = ALONE) -> None:
        self.parameters, self._ranks = parameters, ranks
        self._unused: set[int] | None = None

    def add_up(self) -> None:
        """Replace each gradient by its sum over the ranks. Raises UserError if they differ."""
        if self._ranks.count > 1:
            self._require_same_parameters()
            self._ranks.add([each.grad for each in self.parameters if each.grad is not None])

    def _require_same_parameters(self) -> None:
        active = {number for number, each in enumerate(self.parameters) if each.requires_grad}
        unused = {number for number in active if self.parameters[number].grad is None}
        if self._unused is None:
            if any(others != unused for others in self._ranks.gather_objects(unused)):
                raise UserError(SKIPPED)
            self._unused = unused
        elif unused != self._unused & active:
            raise UserError(SKIPPED)
