"""Modules without state that units share: each unit gets its own, as it freezes apart."""

import copy

from torch import nn


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
        has_state = any(True for _ in (*child.parameters(), *child.buffers()))
        if id(child) in owned and not has_state:
            if id(child) not in copies:
                copies[id(child)] = copy.deepcopy(child)
            parent._modules[name] = copies[id(child)]
        elif id(child) not in mine:
            mine.add(id(child))
            separate_within(child, owned, mine, copies)
