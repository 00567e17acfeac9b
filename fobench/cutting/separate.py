"""What units share, or must not: each freezes apart."""

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fobench.cutting.refusals import CannotCutError
from fobench.cutting.tape import memory_of


def require_own_memory(network: nn.Module) -> None:
    """Raises CannotCutError if a parameter that trains lies in the memory of another tensor.

    A step of one changes the other, also if that is frozen; until the network is moved to another
    device or memory format, which parts them.
    """
    spans = sorted(memory_spans(network))
    for (memory, _, end, *one), (its_memory, start, _, *other) in pairwise(spans):
        (name, trains), (its_name, it_trains) = one, other
        if memory == its_memory and start < end and (trains or it_trains):
            raise CannotCutError(
                f"{type(network).__name__}: {name} and {its_name} are two tensors in the same "
                "memory, which moving them to a device parts: make them one parameter, as "
                "b.weight = a.weight does, or give each its own memory with clone()"
            )


def memory_spans(network: nn.Module) -> Iterator[tuple[int, int, int, str, bool]]:
    """The memory of each tensor, where in it it begins and ends, its name, whether it trains."""
    for name, each in (*network.named_parameters(), *network.named_buffers()):
        if not is_lazy(each) and each.numel() and each.layout is torch.strided:
            reach = sum(
                (size - 1) * step for size, step in zip(each.shape, each.stride(), strict=True)
            )
            start = each.storage_offset() * each.element_size()
            end = start + (reach + 1) * each.element_size()
            yield memory_of(each), start, end, name, each.requires_grad


def separate_stateless(units: nn.Sequential) -> None:
    """Give each unit its own of the modules without parameters and buffers that it shares.

    Freezing one unit would otherwise switch off another's dropout.
    """
    owned: set[int] = set()
    for name, unit in units._modules.items():
        own = copy.deepcopy(unit) if id(unit) in owned else unit
        units._modules[name] = own
        mine = {id(own)}
        separate_within(own, owned, mine, {})
        owned |= mine


def separate_within(
    parent: nn.Module, owned: set[int], mine: set[int], copies: dict[int, nn.Module]
) -> None:
    """Replace the modules in `parent` whose ids are in `owned`; add the others to `mine`."""
    for name, child in parent._modules.items():
        if child is None:
            continue
        if id(child) in owned and not has_state(child):
            if id(child) not in copies:
                copies[id(child)] = copy.deepcopy(child)
            parent._modules[name] = copies[id(child)]
        elif id(child) not in mine:
            mine.add(id(child))
            separate_within(child, owned, mine, copies)


def has_state(module: nn.Module) -> bool:
    """Whether it has parameters or buffers."""
    return any(True for _ in (*module.parameters(), *module.buffers()))
