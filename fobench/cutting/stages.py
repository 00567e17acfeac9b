"""Which modules a network is looked into: those made of blocks, but not the blocks themselves."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from fobench.cutting.cuts import Flow
from fobench.cutting.tape import Tape


def is_layer(module: nn.Module) -> bool:
    """Whether it is one of torch's own layers, which are never looked into."""
    return type(module).__module__.startswith("torch.nn.") and type(module) is not nn.Sequential


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module that was recorded inside, or as one: which of its tape's calls it was."""

    path: str
    first: int
    last: int


def module_calls(tape: Tape) -> dict[tuple[tuple[str, int], ...], ModuleCall]:
    """The calls of modules on a tape, by scope, including those recorded inside."""
    found: dict[tuple[tuple[str, int], ...], ModuleCall] = {}
    for number, call in enumerate(tape.calls):
        scopes = [call.scope[:depth] for depth in range(1, len(call.scope) + 1)]
        if call.is_module:
            scopes.append((*call.scope, (str(call.target), number)))
        for scope in scopes:
            first = found[scope].first if scope in found else number
            found[scope] = ModuleCall(scope[-1][0], first, number)
    return found


def stage_classes(network: nn.Module, tape: Tape) -> set[type[nn.Module]]:
    """The classes that are made of blocks, from a tape on which all modules were recorded inside.

    Where siblings of one class, or of several in turn, follow each other, each reading what the one
    before returned, with a cut between them, their parent is a stage. A class that has such
    siblings without a cut between them in any of its modules is a block, as residual blocks are.
    """
    modules, flow = dict(network.named_modules()), Flow(tape)
    cuts = {cut.position for cut in flow.cuts()}
    siblings: dict[tuple[tuple[str, int], ...], list[ModuleCall]] = defaultdict(list)
    for scope, call in module_calls(tape).items():
        parent = scope[:-1]
        while parent and type(modules[parent[-1][0]]) is nn.Sequential:
            parent = parent[:-1]
        if type(modules[call.path]) is not nn.Sequential:
            siblings[parent].append(call)
    stages, blocks = set(), set()
    for parent, calls in siblings.items():
        cls = type(modules[parent[-1][0]]) if parent else type(network)
        calls.sort(key=lambda each: each.first)
        called = [modules[call.path] for call in calls]
        repeated = Counter(type(module) for module in called if not is_layer(module))
        for before, after in pairwise(calls):
            kinds = type(modules[before.path]), type(modules[after.path])
            # Blocks of one class, or of several in turn.
            if kinds[0] is not kinds[1] and min(repeated[kind] for kind in kinds) < 2:
                continue
            if not follows(flow, before, after):
                continue
            (stages if has_cut(flow, cuts, before, after) else blocks).add(cls)
    return stages - blocks


def follows(flow: Flow, before: ModuleCall, after: ModuleCall) -> bool:
    """Whether a call reads what the one before it made."""
    calls = flow.tape.calls
    made = {each.number for number in range(before.first, before.last + 1)
            for each in calls[number].writes()}  # fmt: skip
    read = {each.number for number in range(after.first, after.last + 1)
            for each in calls[number].reads()}  # fmt: skip
    return before.last < after.first and bool(made & read)


def has_cut(flow: Flow, cuts: set[int], before: ModuleCall, after: ModuleCall) -> bool:
    """Whether there is a cut between two calls, at which a value that the first made crosses.

    Several values are a cut before a call that reads them all, as that of a dense layer does.
    """
    if any(before.last <= cut < after.first for cut in cuts):
        return True
    values = flow.crossing(before.last)
    read = {each.number for number in range(after.first, after.last + 1)
            for each in flow.tape.calls[number].reads()}  # fmt: skip
    return bool(values) and flow.can_cross(values) and set(values) <= read
