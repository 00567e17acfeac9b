"""Which modules a network is looked into: those made of blocks, but not the blocks themselves."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from fobench.cutting.cuts import Flow
from fobench.cutting.tape import Tape

# Those of torch's modules that are made of blocks.
CONTAINERS = (nn.Sequential, nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer)


def is_layer(module: nn.Module) -> bool:
    """Whether it is one of torch's own layers, which are never looked into."""
    return type(module).__module__.startswith("torch.nn.") and type(module) not in CONTAINERS


def stages(network: nn.Module, tape: Tape) -> set[str]:
    """The paths of the modules made of blocks, and of those around them that are no blocks.

    `tape` is one on which all modules were recorded inside.
    """
    modules = dict(network.named_modules())
    made_of_blocks, of_modules, blocks = stages_and_blocks(network, tape)
    found = {path for path, module in modules.items() if type(module) in made_of_blocks}
    # Blocks hold classes of several layers, too, such as a norm with its activation.
    inner = {path for path in found if type(modules[path]) in of_modules}
    around = {prefix for path in inner for prefix in prefixes(path)}
    return found | {path for path in around if type(modules[path]) not in blocks}


def prefixes(path: str) -> list[str]:
    """The paths of the modules around that at a path, the network itself aside."""
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


Scope = tuple[tuple[str, int], ...]
Classes = set[type[nn.Module]]


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module that was recorded inside, or as one: which of its tape's calls it was."""

    scope: Scope
    first: int
    last: int

    @property
    def path(self) -> str:
        return self.scope[-1][0]


def module_calls(tape: Tape) -> dict[Scope, ModuleCall]:
    """The calls of modules on a tape, by scope, including those recorded inside."""
    found: dict[Scope, ModuleCall] = {}
    for number, call in enumerate(tape.calls):
        scopes = [call.scope[:depth] for depth in range(1, len(call.scope) + 1)]
        if call.is_module:
            scopes.append((*call.scope, (str(call.target), number)))
        for scope in scopes:
            first = found[scope].first if scope in found else number
            found[scope] = ModuleCall(scope, first, number)
    return found


def stages_and_blocks(network: nn.Module, tape: Tape) -> tuple[Classes, Classes, Classes]:
    """The classes that are made of blocks, those of them whose blocks are more than one of torch's
    layers each, and the classes that are blocks.

    Where siblings of one class, or of several in turn, follow each other, each reading what the one
    before returned, with a cut between them, their parent is a stage. A class that has such
    siblings past which something goes in any of its modules is a block, as residual blocks are.
    """
    modules, flow = dict(network.named_modules()), Flow(tape)
    cuts = {cut.position for cut in flow.cuts()}
    siblings: dict[Scope, list[ModuleCall]] = defaultdict(list)
    for scope, call in module_calls(tape).items():
        parent = scope[:-1]
        while parent and type(modules[parent[-1][0]]) is nn.Sequential:
            parent = parent[:-1]
        if type(modules[call.path]) is not nn.Sequential:
            siblings[parent].append(call)
    made_of_blocks, of_modules, blocks = set(), set(), set()
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
            read = read_within(tape, after)
            if not follows(tape, before, after, read):
                continue
            read |= {each.number for each in tape.given.get(after.scope, ())}
            if has_cut(flow, cuts, before, after, read):
                made_of_blocks.add(cls)
                if cls in CONTAINERS or not is_layer(modules[before.path]):
                    of_modules.add(cls)
            elif not set(flow.crossing(before.last)) <= read:
                blocks.add(cls)
    return made_of_blocks - blocks, of_modules - blocks, blocks


def read_within(tape: Tape, call: ModuleCall) -> set[int]:
    """The values that are read within a call of a module."""
    numbers = range(call.first, call.last + 1)
    return {each.number for number in numbers for each in tape.calls[number].reads()}


def follows(tape: Tape, before: ModuleCall, after: ModuleCall, read: set[int]) -> bool:
    """Whether a call, which reads these values, reads what the one before it made."""
    numbers = range(before.first, before.last + 1)
    made = {each.number for number in numbers for each in tape.calls[number].writes()}
    return before.last < after.first and bool(made & read)


def has_cut(
    flow: Flow, cuts: set[int], before: ModuleCall, after: ModuleCall, read: set[int]
) -> bool:
    """Whether there is a cut between two calls, at which a value that the first made crosses.

    Several values are a cut before a call that is given them all, as that of a dense layer is.
    """
    if any(before.last <= cut < after.first for cut in cuts):
        return True
    values = flow.crossing(before.last)
    return bool(values) and flow.can_cross(values) and set(values) <= read
