"""A unit that carries out the calls of a stretch of a tape, with the network's own modules."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fobench.cutting.cuts import Flow
from fobench.cutting.tape import Attribute, Call, Images, OfImages, Value, leaves, mapped
from fobench.machine.values import Values, tensors_of


@dataclass(frozen=True)
class Program:
    """Calls in order, the values that they start from, and those that they end with.

    `ends` has the structure that the unit returns: a Value, a tuple of them, or what the network
    itself returns. `last_reads` are for each call the values that no later one needs.
    """

    calls: tuple[Call, ...]
    starts: tuple[int, ...]
    ends: Any
    last_reads: tuple[tuple[int, ...], ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Program":
        return self

    @property
    def is_single_module(self) -> bool:
        """Whether it is one call of a module, from its input to its output."""
        if len(self.calls) != 1 or not self.calls[0].is_module or len(self.starts) != 1:
            return False
        (call,) = self.calls
        return (
            call.args == (Value(self.starts[0]),) and not call.kwargs and call.outputs == self.ends
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.key() == other.key()

    __hash__ = None

    def key(self) -> str:
        """Equal for programs that do the same."""
        numbers: dict[int, int] = {}

        def renumbered(each: Any) -> Any:
            if isinstance(each, Value):
                return Value(numbers.setdefault(each.number, len(numbers)))
            return each

        starts = [renumbered(Value(number)) for number in self.starts]
        calls = [
            (call.target, mapped(renumbered, (call.args, call.kwargs, call.outputs)))
            for call in self.calls
        ]
        return repr((starts, calls, mapped(renumbered, self.ends)))


def program(flow: Flow, calls: Sequence[Call], starts: Sequence[int], ends: Any) -> Program:
    """The program of these calls, and of those without images whose values they need."""
    needed = {each.number for call in calls for each in call.reads()}
    needed |= {each.number for each in leaves(ends) if isinstance(each, Value)}
    chosen = {id(call) for call in calls}
    dependent = {id(flow.tape.calls[number]) for number in flow.steps}
    # Backwards, as what they need can again need others.
    given = set(starts)
    for call in reversed(flow.tape.calls):
        writes = {each.number for each in call.writes()}
        if id(call) in chosen:
            needed |= {each.number for each in call.reads()}
        elif id(call) not in dependent and (needed - given) & writes:
            chosen.add(id(call))
            needed |= {each.number for each in call.reads()}
    ordered = [call for call in flow.tape.calls if id(call) in chosen]
    kept = {each.number for each in leaves(ends) if isinstance(each, Value)}
    last_reads: list[tuple[int, ...]] = []
    for call in reversed(ordered):
        used = {each.number for each in (*call.reads(), *call.writes())} - kept
        last_reads.append(tuple(sorted(used)))
        kept |= used
    return Program(tuple(ordered), tuple(starts), ends, tuple(reversed(last_reads)))


class RecordedUnit(nn.Module):
    """Carries out a program: one for training, one for evaluation, often the same.

    Its modules, parameters and buffers are the network's own, under their paths with _ for dots;
    `names` are these by path, with more _ where two would be equal.
    """

    def __init__(self, network: nn.Module, training: Program, evaluation: Program) -> None:
        super().__init__()
        self.training_program = training
        self.evaluation_program = training if evaluation == training else evaluation
        self.names: dict[str, str] = {}
        for call in (*training.calls, *evaluation.calls):
            if call.is_module:
                self._hold(str(call.target), network.get_submodule(str(call.target)))
            for attribute in call.attributes():
                self._hold(attribute.path, operator.attrgetter(attribute.path)(network))
        for each in leaves((training.ends, evaluation.ends)):
            if isinstance(each, Attribute):
                self._hold(each.path, operator.attrgetter(each.path)(network))

    def _hold(self, path: str, held: nn.Module | torch.Tensor) -> None:
        """Make what is at a path of the network the unit's own, too."""
        if path in self.names:
            return
        name = name_of(path)
        while hasattr(self, name):
            name += "_"
        self.names[path] = name
        if isinstance(held, nn.Module):
            self.add_module(name, held)
        elif isinstance(held, nn.Parameter) and held.requires_grad:
            self.register_parameter(name, held)
        else:  # other units may hold it, too
            self.register_buffer(name, held, persistent=False)

    def forward(self, values: Values) -> Any:
        program = self.training_program if self.training else self.evaluation_program
        given = tensors_of(values)
        known = dict(zip(program.starts, given, strict=True))
        first = given[0]

        def found(each: Any) -> Any:
            if isinstance(each, Value):
                return known[each.number]
            if isinstance(each, Attribute):
                return getattr(self, self.names[each.path])
            if isinstance(each, Images):
                return each.factor * first.shape[0]
            return first.device if isinstance(each, OfImages) else each

        for call, last in zip(program.calls, program.last_reads, strict=True):
            target = getattr(self, self.names[call.target]) if call.is_module else call.target
            result = target(*mapped(found, call.args), **mapped(found, call.kwargs))
            keep(known, call.outputs, result)
            for number in last:
                known.pop(number, None)
        return mapped(found, program.ends)

    def extra_repr(self) -> str:
        return f"{len(self.training_program.calls)} calls"


def keep(known: dict[int, torch.Tensor], outputs: Any, result: Any) -> None:
    """Add the tensors of a result to the known values."""
    if isinstance(outputs, Value):
        if isinstance(result, torch.Tensor):  # an assignment returns none: its value is known
            known[outputs.number] = result
    elif isinstance(outputs, dict):
        for key, each in outputs.items():
            keep(known, each, result[key])
    elif isinstance(outputs, list | tuple):
        for each, part in zip(outputs, result, strict=True):
            keep(known, each, part)


def name_of(path: Any) -> str:
    return str(path).replace(".", "_")
