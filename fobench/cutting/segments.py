"""Stretches between cuts, joined to units of the size of a block. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from fobench.cutting.cuts import Cut, Flow, attributes_read
from fobench.cutting.tape import Call

NORMS = ("Norm", "norm")
WEIGHTS_BEFORE_NORM = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
# Functions of torch that multiply by weights.
PRODUCTS = {
    *("linear", "bilinear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm"),
    *("einsum", "tensordot", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
    *("conv_transpose3d", "multi_head_attention_forward"),
}


@dataclass(frozen=True)
class Segment:
    """The calls between two cuts, the same in training and in evaluation mode.

    `start` and `end` are the cuts in each of the two modes; None at the ends of the network.
    """

    start: tuple[Cut, Cut] | None
    end: tuple[Cut, Cut] | None

    def calls(self, flow: Flow, mode: int) -> list[Call]:
        """Its calls that depend on images, in training (0) or in evaluation mode (1)."""
        first = self.start[mode].position if self.start else -1
        last = self.end[mode].position if self.end else len(flow.tape.calls)
        return [flow.tape.calls[number] for number in flow.steps if first < number <= last]

    def joined(self, other: "Segment") -> "Segment":
        """This one and a later one, with all between."""
        return Segment(self.start, other.end)


def segments_between(cuts: Sequence[tuple[Cut, Cut]]) -> list[Segment]:
    ends = [None, *cuts, None]
    return [Segment(*pair) for pair in pairwise(ends)]


class Grouping:
    """Joins segments without weights of their own to those with, by what their modules are."""

    def __init__(self, network: nn.Module, flow: Flow) -> None:
        self._modules, self._flow = dict(network.named_modules()), flow
        self._parameters = dict(network.named_parameters(remove_duplicate=False))

    def units(self, segments: Sequence[Segment]) -> list[Segment]:
        """Dropout goes to the next unit; a norm goes back behind a bare convolution or linear, and
        forward behind a block; everything else goes back.
        """
        units: list[Segment] = []
        waiting: Segment | None = None  # for the next unit
        for segment in segments:
            if self.has_weights(segment):
                units.append(waiting.joined(segment) if waiting else segment)
                waiting = None
            elif waiting:
                waiting = waiting.joined(segment)
            elif not units or self.goes_forward(segment, units[-1]):
                waiting = segment
            else:
                units[-1] = units[-1].joined(segment)
        if waiting:
            units = [*units[:-1], units[-1].joined(waiting)] if units else [waiting]
        return units

    def modules_of(self, segment: Segment) -> list[nn.Module]:
        calls = segment.calls(self._flow, 0)
        return [self._modules[str(call.target)] for call in calls if call.is_module]

    def has_weights(self, segment: Segment) -> bool:
        """Whether it has weights of more than one dimension, norms aside."""
        return any(
            sum(size > 1 for size in parameter.shape) > 1
            for call in segment.calls(self._flow, 0)
            for parameter in self.weights_of(call)
        )

    def weights_of(self, call: Call) -> Iterable[nn.Parameter]:
        """The parameters of a module but a norm, or those that a function multiplies by."""
        if call.is_module:
            module = self._modules[str(call.target)]
            return () if is_norm(module) else module.parameters()
        if getattr(call.target, "__name__", "") not in PRODUCTS:
            return ()
        read = attributes_read(call, self._flow.made_of)
        return [self._parameters[path] for path in read & self._parameters.keys()]

    def goes_forward(self, segment: Segment, before: Segment) -> bool:
        modules = self.modules_of(segment)
        if not modules:
            return False
        if isinstance(modules[0], nn.modules.dropout._DropoutNd):
            return True
        weighty = [each for each in self.modules_of(before) if any(True for _ in each.parameters())]
        is_bare = bool(weighty) and isinstance(weighty[-1], WEIGHTS_BEFORE_NORM)
        return is_norm(modules[0]) and not is_bare


def is_norm(module: nn.Module) -> bool:
    return any(word in type(module).__name__ for word in NORMS) and not any(
        isinstance(each, WEIGHTS_BEFORE_NORM) for each in module.modules()
    )


def join_untrained_end(units: Sequence[Segment], trains: Sequence[bool]) -> list[Segment]:
    """Join what follows the last unit that trains to it: the head, which never freezes."""
    last = max((number for number, each in enumerate(trains) if each), default=len(units) - 1)
    return [*units[:last], units[last].joined(units[-1])]


def join_sharing(units: Sequence[Segment], held: Iterable[set[int]]) -> list[Segment]:
    """Join units that hold the same parameter or buffer, with all between.

    `held` are the ids of what each unit holds.
    """
    joined: list[Segment] = []
    holds: list[set[int]] = []
    for unit, mine in zip(units, held, strict=True):
        joined.append(unit)
        holds.append(set(mine))
        first = next((number for number, other in enumerate(holds) if other & mine), len(holds) - 1)
        if first < len(holds) - 1:
            joined[first:] = [joined[first].joined(joined[-1])]
            holds[first:] = [set().union(*holds[first:])]
    return joined
