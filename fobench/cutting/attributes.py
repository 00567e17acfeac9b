"""What the modules of a network hold: tensors, and values in Python."""

import numbers
import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from fobench.cutting.record import tensors_held

OF_EVERY_MODULE = vars(nn.Module()).keys()
DEPTH = 5  # of containers in containers


def attributes_of(network: nn.Module) -> dict[str, Any]:
    """Attributes of the network's modules by path: all tensors, and plain values as text."""
    return dict(values_in_python(network)) | {
        f"{prefix}{name}": tensor
        for prefix, module in with_prefixes(network)
        for name, tensor in tensors_held(module).items()
    }


def decided_in_python(network: nn.Module) -> dict[str, Any]:
    """What a forward pass may change and a replay of its kernels would not: plain values as text,
    and which tensors the parameters and buffers are.
    """
    return dict(values_in_python(network)) | {
        f"{prefix}{name}": tensor
        for prefix, module in with_prefixes(network)
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
    }


def values_in_python(network: nn.Module) -> Iterator[tuple[str, str]]:
    for prefix, module in with_prefixes(network):
        for name, value in vars(module).items():
            if name not in OF_EVERY_MODULE and not isinstance(value, torch.Tensor):
                yield f"{prefix}{name}", repr(plain(value))


def with_prefixes(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules, each with what stands before the names of its attributes."""
    return ((f"{path}." if path else "", module) for path, module in network.named_modules())


def plain(value: Any, depth: int = DEPTH) -> Any:
    """Numbers and texts, also in containers; the state of a generator; of all else the class."""
    if value is None or isinstance(value, numbers.Number | str | bytes):
        return value
    if isinstance(value, dict) and depth:
        return [(plain(key, depth - 1), plain(each, depth - 1)) for key, each in value.items()]
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [plain(each, depth - 1) for each in value]
    state = state_of(value)
    return type(value) if state is None else sha256(repr(state).encode()).hexdigest()


def state_of(value: Any) -> Any:
    """The state of a generator of random numbers, in full; None for all else."""
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return value.getstate()
    if isinstance(value, np.random.RandomState):
        _, keys, *rest = value.get_state()
        return keys.tobytes(), rest
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    return in_full(value.state) if isinstance(value, np.random.BitGenerator) else None


def in_full(state: Any) -> Any:
    """With the bytes of arrays, whose text leaves numbers out."""
    if isinstance(state, dict):
        return {key: in_full(each) for key, each in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state
