"""State that a network changes in training and no state_dict holds: a resumed run lacks it."""

import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fobench.cutting.attributes import attributes_of
from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.refusals import (
    CannotCutError,
    FailedError,
    leaving_random_states,
    reason_of,
)
from fobench.cutting.verify import EVALUATION, TRAINING, disturbed, equal, random_images
from fobench.machine.seeds import seed_globally

ADDED = "_extra_state"  # torch's name for what get_extra_state returns


def unsaved_state(network: nn.Module, cut: CutNetwork, image_shape: Sequence[int]) -> list[str]:
    """The attributes that hold such state, or state that its units lack; empty if there is none.

    A copy of the network takes a step of training; another is given its state_dict, as a run that
    is resumed. State is what then makes them compute different scores; and what each step changes,
    as a count, which may do so later. What they keep and compute anew, such as a mask for the size
    of the images, or the last features, is none. What each step changes in Python, in a module that
    was looked into, is state in any case.

    Raises FailedError if the network fails, CannotCutError if it does not load its state_dict.
    """
    memory_format = cut.memory_format
    with leaving_random_states(), torch.no_grad():
        trained = disturbed(network, memory_format)
        scores(trained, TRAINING, image_shape, 0, memory_format)
        resumed = disturbed(network, memory_format)
        try:
            resumed.load_state_dict(as_saved(trained))
        except CannotCutError:
            raise
        except Exception as error:
            raise CannotCutError(
                f"{type(network).__name__} does not load its own state_dict ({reason_of(error)}), "
                "so that no run of it could be resumed: mend that"
            ) from error
        lost = lost_attributes(trained, resumed)
        watched = lost | values_of_opened(network, cut, trained)
        before = {name: (each, copy.deepcopy(each)) for name, each in watched.items()}
        alike, each_step = True, list[str]()
        for number, mode in enumerate((TRAINING, EVALUATION), start=1):
            one, other = (
                scores(each, mode, image_shape, number, memory_format)
                for each in (trained, resumed)
            )
            alike = alike and equal(one, other)
            if mode is TRAINING:
                each_step = changed_again(before, trained)
    return each_step if alike else each_step or list(lost) or ["something that no module holds"]


def as_saved(network: nn.Module) -> dict[str, Any]:
    """The state_dict as a checkpoint holds it: what modules add to it is written and read."""
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith(ADDED) or not isinstance(value, torch.Tensor):
            file = io.BytesIO()
            try:
                torch.save(value, file)
                file.seek(0)
                state[key] = torch.load(file, weights_only=True)
            except Exception as error:
                raise CannotCutError(
                    f"{type(network).__name__}: no checkpoint can hold what its state_dict has as "
                    f"{key}: let get_extra_state return tensors, numbers, texts, or lists and "
                    "dicts of them"
                ) from error
    return state


def scores(
    network: nn.Module,
    mode: tuple[bool, int],
    image_shape: Sequence[int],
    number: int,
    memory_format: torch.memory_format,
) -> torch.Tensor:
    """What the network returns in a mode for as many images; other ones for each number."""
    training, count = mode
    images = random_images(count, image_shape, number).clone(memory_format=memory_format)
    seed_globally(0, number, "step to compare")
    network.train(training)
    try:
        return network(images)
    except Exception as error:
        raise FailedError(reason_of(error)) from error


def unlike(one: Any, other: Any) -> bool:
    if torch.is_tensor(one) and torch.is_tensor(other):
        return not equal(one, other)
    return type(one) is not type(other) or one != other


def lost_attributes(trained: nn.Module, resumed: nn.Module) -> dict[str, Any]:
    """The attributes of a network that another has not, or has with another value."""
    there = attributes_of(resumed)
    return {
        name: value
        for name, value in attributes_of(trained).items()
        if unlike(value, there.get(name))
    }


def values_of_opened(network: nn.Module, cut: CutNetwork, trained: nn.Module) -> dict[str, Any]:
    """The values in Python of modules that are in no unit, as their calls are."""
    in_units = {id(module) for module in cut.modules()}
    paths = {path for path, module in network.named_modules() if id(module) not in in_units}
    return {
        name: value
        for name, value in attributes_of(trained).items()
        if not torch.is_tensor(value) and name.rpartition(".")[0] in paths
    }


def changed_again(before: Mapping[str, tuple[Any, Any]], network: nn.Module) -> list[str]:
    """Which attributes have other values than before, given each attribute and a copy of it then.

    Of tensors that are no buffers, those that changed in place.
    """
    now, buffers = attributes_of(network), dict(network.named_buffers())
    return [
        name
        for name, (attribute, value) in before.items()
        if unlike(value, now.get(name))
        and (name in buffers or attribute is now.get(name) or not torch.is_tensor(attribute))
    ]
