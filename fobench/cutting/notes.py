"""What a user may want to know of how a network was cut."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from torch import nn

from fobench.cutting.by_hand import can_cut_behind
from fobench.cutting.cut_network import outermost
from fobench.cutting.cuts import Flow

LARGE = 0.6  # the share of the trained parameters that no unit should hold alone


def notes_on(
    network: nn.Module,
    units: Mapping[str, nn.Module],
    flows: Sequence[Flow],
    joined: Collection[str],
) -> list[str]:
    """What to say of a unit that holds most of the parameters that train, and what to do.

    `flows` are those of the network, `joined` the names of the units that are one as they share
    parameters.
    """
    sizes = {name: size_of(unit) for name, unit in units.items()}
    total, (largest, size) = sum(sizes.values()), max(sizes.items(), key=lambda each: each[1])
    if size <= LARGE * total:
        return []
    why = (
        "its blocks share parameters"
        if largest in joined
        else within(network, units[largest], flows)
    )
    return [
        f"unit {largest} holds {100 * size / total:.0f} % of the parameters that train, so little "
        f"can freeze before it does: {why}"
    ]


def size_of(module: nn.Module) -> int:
    """The number of parameters that train: only these can freeze."""
    return sum(each.numel() for each in trained(module))


def trained(module: nn.Module) -> Iterator[nn.Parameter]:
    return (each for each in module.parameters() if each.requires_grad)


def within(network: nn.Module, unit: nn.Module, flows: Sequence[Flow]) -> str:
    """Where most of a unit's parameters are, or which modules in it to try to cut behind."""
    names = {id(each): name for name, each in network.named_parameters()}
    tensor = max(trained(unit), key=lambda each: each.numel())
    if tensor.numel() > LARGE * size_of(unit):
        return f"most of them are one tensor, {names[id(tensor)]}"
    paths = {id(module): path for path, module in network.named_modules()}
    modules = outermost(unit, paths)
    if len(modules) == 1:
        modules = inner_modules(network, modules[0])[:-1]  # the last ends where the unit does
    else:
        modules = [path for path in modules[:-1] if can_cut_behind(flows, path)]
    if not modules:
        return "no module in it ends where the network can be cut"
    return f"list modules within it in units to cut behind them, such as {' or '.join(modules[:2])}"


def inner_modules(network: nn.Module, path: str) -> list[str]:
    """The outermost modules that train in that at a path, where there are several."""
    children = network.get_submodule(path).named_children()
    inner = [f"{path}.{name}" for name, child in children if size_of(child)]
    return inner_modules(network, inner[0]) if len(inner) == 1 else inner
