"""What CUDA graphs do, done on the CPU: operations are recorded, and repeated on the same memory.

Like a CUDA graph, a recording holds operations below autograd with the tensors they read and wrote;
what Python decided, and all numbers, are fixed. Recording executes nothing, as far as the tensors
that existed before can tell. Where a CUDA graph would share memory with others, values that the
operations make are spoiled before each replay.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fobench.machine.graphs import Graphs

HOST_READ = torch.ops.aten._local_scalar_dense.default
RUNNING = ("running_mean", "running_var")  # of native_batch_norm


class CpuGraphs(Graphs):
    """Graphs of the CPU; what they count is counted by the real class."""

    def __init__(self, device: torch.device) -> None:
        self.captures, self.seconds, self.notes = [], [], []
        self._captures, self._seconds = 0, 0.0
        self._device = device

    def random_state_of_the_host(self) -> str:
        """Here the host's generator is the device's."""
        return str(random.getstate())

    def _capture(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        recording, drawn = Recording(), torch.get_rng_state()
        with recording:
            result = work()
        torch.set_rng_state(drawn)
        recording.undo()
        return recording.replay, result


class Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, tuple, dict, Any]] = []
        self._made: dict[int, torch.Tensor] = {}
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is HOST_READ:
            raise RuntimeError("operation not permitted when stream is capturing")
        for tensor in written_by(function, args, kwargs):
            if storage_of(tensor) not in self._made:
                self._before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = function(*args, **kwargs)
        given = {storage_of(each) for each in tensors_in((args, kwargs))}
        for tensor in tensors_in(result):
            if storage_of(tensor) not in given:
                self._made[storage_of(tensor)] = tensor
        self._operations.append((function, args, kwargs, result))
        return result

    @torch.no_grad()
    def undo(self) -> None:
        """Give what was written the values it had."""
        for tensor, value in self._before.values():
            tensor.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        for tensor in self._made.values():
            tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
        for function, args, kwargs, result in self._operations:
            made = [each for each in tensors_in(result) if storage_of(each) in self._made]
            again = function(*args, **kwargs)
            for before, after in zip(tensors_in(result), tensors_in(again), strict=True):
                if any(before is each for each in made) and not shares_memory(before, after):
                    before.copy_(after)


def written_by(function: Any, args: tuple, kwargs: dict) -> Iterator[torch.Tensor]:
    """The tensors that an operation writes in place, by its schema, or though that does not say."""
    for number, argument in enumerate(function._schema.arguments):
        says_so = argument.alias_info is not None and argument.alias_info.is_write
        if says_so or argument.name in RUNNING:
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            yield from tensors_in(value)


def tensors_in(value: Any) -> list[torch.Tensor]:
    return [each for each in tree_leaves(value) if isinstance(each, torch.Tensor)]


def storage_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def shares_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return storage_of(one) == storage_of(other)
