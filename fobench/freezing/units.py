"""The units of a network: what each holds, and what they may not share."""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

REGISTRIES = ("_modules", "_parameters", "_buffers")


@dataclass(frozen=True)
class Unit:
    """A unit, and all modules and parameters in it, also those in plain lists, tuples and dicts.

    torch does not register those, so neither `root.train()` nor `root.parameters()` knows them.
    """

    root: nn.Module
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]

    @property
    def trained(self) -> list[nn.Parameter]:
        """The registered parameters that require gradients."""
        return [parameter for parameter in self.root.parameters() if parameter.requires_grad]


def units_of(network: nn.Module | Iterable[nn.Module]) -> list[Unit]:
    """The units of a network, given as its modules in forward order, wrapped or not.

    Raises ValueError for anything else, and for a wrapper under which units cannot freeze.
    """
    network = unwrap(network) if isinstance(network, nn.Module) else network
    if isinstance(network, nn.ModuleDict):
        network = network.values()
    try:
        modules = iter(network)
    except (TypeError, NotImplementedError):
        raise ValueError(
            f"a {type(network).__name__} is not divided into units: give its modules in forward "
            "order, such as [network.stem, *network.blocks, network.head]"
        ) from None
    roots = [unwrap(module) for module in modules]
    registered = [{id(each) for each in (*root.modules(), *root.parameters())} for root in roots]
    units = []
    for index, root in enumerate(roots):
        others = registered[:index] + registered[index + 1 :]
        units.append(hold(root, foreign=set().union(*others)))
    return units


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside of `torch.compile`, DistributedDataParallel and DataParallel."""
    while True:
        if not isinstance(module, nn.Module):
            raise ValueError(f"a unit must be a torch.nn.Module, not {type(module).__name__}")
        require_python(module)
        if any(cls.__name__ == "FullyShardedDataParallel" for cls in type(module).__mro__):
            raise ValueError(
                "FullyShardedDataParallel joins the parameters of units into one, which cannot "
                "freeze in part: use DistributedDataParallel"
            )
        if isinstance(module, DistributedDataParallel):
            require_unused_parameters(module)
            module = module.module
        elif isinstance(module, DataParallel):
            module = module.module
        elif isinstance(compiled := getattr(module, "_orig_mod", None), nn.Module):
            module = compiled
        else:
            return module


def require_python(module: nn.Module) -> None:
    """Raises ValueError for TorchScript, whose code reads a mode of its own."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            "TorchScript modules cannot be kept in evaluation mode: script the network after "
            "training, or use torch.compile"
        )


def require_unused_parameters(wrapper: DistributedDataParallel) -> None:
    """Raises ValueError if the wrapper waits for gradients that frozen parameters never get."""
    if wrapper.static_graph or not wrapper.find_unused_parameters:
        raise ValueError(
            "DistributedDataParallel would wait for the gradients of frozen units: wrap the "
            "network with find_unused_parameters=True and without static_graph; or give FreezeOut "
            "the network itself, and wrap it anew whenever `frozen` has grown"
        )


def hold(root: nn.Module, foreign: set[int]) -> Unit:
    """A unit with all that it holds.

    `foreign` are the ids of modules and parameters that are registered in other units: a unit that
    refers to these in a plain list does not hold them.
    """
    modules: dict[int, nn.Module] = {}
    parameters: dict[int, nn.Parameter] = {}
    todo: list[nn.Module] = [root]
    while todo:
        module = todo.pop()
        if id(module) in modules:
            continue
        modules[id(module)] = module
        require_python(module)
        todo += module.children()
        loose = [each for key, each in vars(module).items() if key not in REGISTRIES]
        for parameter in module.parameters(recurse=False):
            parameters[id(parameter)] = parameter
        for each in contents(loose):
            if isinstance(each, nn.Module):
                todo += [] if reaches(each, {id(root), *foreign}) else [each]
            elif id(each) not in foreign:
                parameters[id(each)] = each
    return Unit(root, tuple(modules.values()), tuple(parameters.values()))


def contents(value: Any) -> Iterator[nn.Module | nn.Parameter]:
    """The modules and parameters in lists, tuples, sets and dicts within a value."""
    todo, seen = [value], set()
    while todo:
        each = todo.pop()
        if isinstance(each, nn.Module | nn.Parameter):
            yield each
        elif isinstance(each, dict | list | tuple | set) and id(each) not in seen:
            seen.add(id(each))
            todo += each.values() if isinstance(each, dict) else each


def reaches(module: nn.Module, others: set[int]) -> bool:
    """Whether a module contains one of `others`: a reference to the network, or to another unit."""
    return any(id(each) in others for each in module.modules())


def require_separate(units: list[Unit], head: int) -> None:
    """Raises ValueError if a unit that will freeze shares with another what must freeze with it.

    That is a parameter that trains, or a module that acts differently in training. Others, such as
    a ReLU, can be shared.
    """
    owners: dict[int, int] = {}
    for index, unit in enumerate(units):
        modal = [module for module in unit.modules if acts_differently_in_training(module)]
        for each in (*unit.trained, *modal):
            owner = owners.setdefault(id(each), index)
            if owner != index and owner < head:
                raise ValueError(f"units {owner} and {index} share {remedy_for(each)}")


def remedy_for(shared: nn.Module | nn.Parameter) -> str:
    if isinstance(shared, nn.Parameter):
        return (
            f"a parameter of shape {tuple(shared.shape)}, which cannot freeze in one and train in "
            "the other: untie it, or join these units and those between them; and list no module "
            "twice, nor one within another"
        )
    return (
        f"a {type(shared).__name__}, which acts differently in a frozen unit and in an active one: "
        "give each unit its own"
    )


def acts_differently_in_training(module: nn.Module) -> bool:
    """Whether a module reads its mode, as dropout does, as far as the code of its classes shows.

    For torch's own classes that is whether a method reads `training`; for those of users, whether
    their source mentions training at all, or cannot be read.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd) and module.p == 0:
        return False
    classes = [cls for cls in type(module).__mro__ if cls not in (nn.Module, object)]
    return "forward" in vars(module) or any(map(mentions_training, classes))


@cache
def mentions_training(cls: type) -> bool:
    if cls.__module__.startswith("torch.nn."):
        methods = filter(inspect.isfunction, vars(cls).values())
        return any("training" in method.__code__.co_names for method in methods)
    try:
        return "train" in inspect.getsource(cls) or "Dropout" in inspect.getsource(cls)
    except (OSError, TypeError):
        return True
