"""Records a forward pass: torch's functions are observed, chosen modules are one call each."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fobench.cutting.refusals import (
    CannotRecordError,
    assigning_nothing,
    copy_of,
    drawing_nothing,
    has_hooks,
    leaving_random_states,
    refusal_of,
    refuse_modes,
    refusing_autocast,
)
from fobench.cutting.tape import (
    BATCH,
    Attribute,
    Call,
    Images,
    OfImages,
    Tape,
    Value,
    leaves,
    mapped,
    memory_of,
)

META = torch.device("meta")
TORCH = str(Path(torch.__file__).parent)


def on_meta(network: nn.Module) -> nn.Module:
    """A deep copy without memory for its tensors."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        for tensor in tensors_held(module).values():
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(torch.empty_like(tensor, device=META), tensor.requires_grad)
            else:
                empty = torch.empty_like(tensor, device=META)
            memo.setdefault(id(tensor), empty)
    return copy_of(network, memo)


def tensors_held(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that a module itself holds, by attribute: registered or not."""
    held = {**vars(module), **module._parameters, **module._buffers}
    return {name: each for name, each in held.items() if isinstance(each, torch.Tensor)}


def attributes(network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that the network's modules hold, each by its first path."""
    first: dict[int, tuple[str, torch.Tensor]] = {}
    for path, module in network.named_modules():
        for name, tensor in tensors_held(module).items():
            first.setdefault(id(tensor), (f"{path}.{name}" if path else name, tensor))
    return dict(first.values())


def record(
    network: nn.Module,
    image_shape: Sequence[int],
    opened: Collection[str],
    memory_format: torch.memory_format = torch.channels_last,
) -> Tape:
    """The forward pass of a network on images [H, W, C], in the mode that it is in.

    `network` is on the meta device, a copy that nobody else uses. The modules at the paths `opened`
    are recorded inside, as far as that is possible; others are one call. Images are channels last
    in memory, as those of a training; in another format, making them so is the first call.

    Raises CannotRecordError, or FailedError.
    """
    height, width, channels = image_shape
    recorder = Recorder(network, opened)
    images = torch.empty(BATCH, height, width, channels, device=META).permute(0, 3, 1, 2)
    recorder.add(images)
    with torch.no_grad(), META, recorder, recorder.watching_modules():
        try:
            if memory_format is not torch.channels_last:
                images = images.clone(memory_format=memory_format)
            recorder.tape.result = recorder.named(network(images))
        except Exception as error:
            raise refusal_of(error) from error
    return recorder.tape


class Recorder(TorchFunctionMode):
    """Observes torch's functions, and calls of the network's modules."""

    def __init__(self, network: nn.Module, opened: Collection[str]) -> None:
        super().__init__()
        self.tape = Tape()
        self._opened = opened
        self._paths = {id(module): path for path, module in network.named_modules()}
        self._held = attributes(network)  # kept, as an id is unique while its tensor lives
        self._attributes = {id(tensor): path for path, tensor in self._held.items()}
        self._values: dict[int, Value] = {}
        self._memories: dict[int, list[Value | Attribute]] = defaultdict(list)
        for path, tensor in self._held.items():
            self._memories[memory_of(tensor)].append(Attribute(path))
        self._scope: list[tuple[str, int]] = []
        self._calls = Counter[str]()
        self._paused = False

    def add(self, tensor: torch.Tensor) -> Value:
        """A number for a tensor that has none; it is kept, as an id is unique while it lives."""
        if id(tensor) not in self._values:
            self._values[id(tensor)] = value = Value(len(self.tape.examples))
            self.tape.examples.append(tensor)
            self._memories[memory_of(tensor)].append(value)
        return self._values[id(tensor)]

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        refuse_modes(func)
        before = versions((args, kwargs))
        try:
            result = func(*args, **kwargs)
        except Exception:
            self.named((args, kwargs))  # raises if the reason is a tensor from elsewhere
            raise
        self._note(func, args, kwargs, result, before)
        return result

    def _note(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        before: list[int],
        held: Sequence[torch.Tensor] = (),
    ) -> None:
        """Note a call with what it returned; `before` are the versions, before it, of its arguments
        and of what a module holds.
        """
        given = tensors_in((args, kwargs, held))
        changed = [each for each, was in zip(given, before, strict=True) if each._version != was]
        assigns = getattr(target, "__name__", "") == "__set__"
        made = tensors_in(result)
        if not (made or changed or assigns):
            return  # a shape, a type: constants, but for multiples of the number of images
        if len(made) >= BATCH:
            raise CannotRecordError("it takes the images one by one: use functions of all of them")
        memories = dict.fromkeys(memory_of(each) for each in changed)
        self.tape.calls.append(
            Call(
                target,
                self.named(args),
                self.named(kwargs),
                mapped(self._output, result),
                tuple(self._scope),
                tuple(each for memory in memories for each in self._memories[memory]),
                calling_line(),
            )
        )

    def _output(self, each: Any) -> Any:
        if not isinstance(each, torch.Tensor):
            return each
        # What a function changes in place stays the value, or the attribute, that it was.
        if id(each) in self._attributes:
            return Attribute(self._attributes[id(each)])
        return self.add(each)

    def _known(self, structure: Any) -> list[Value]:
        """The values among its tensors."""
        ids = [id(each) for each in tensors_in(structure)]
        return [self._values[each] for each in ids if each in self._values]

    def named(self, structure: Any) -> Any:
        """A structure of arguments, with names in place of tensors and of numbers of images.

        Raises CannotRecordError for a tensor that comes from elsewhere.
        """
        return mapped(self._named, structure)

    def _named(self, each: Any) -> Any:
        if isinstance(each, torch.Tensor):
            if id(each) in self._values:
                return self._values[id(each)]
            if id(each) in self._attributes:
                return Attribute(self._attributes[id(each)])
            raise CannotRecordError(
                f"it uses a tensor of shape {tuple(each.shape)} that comes neither from the images "
                "nor from its modules"
            )
        if isinstance(each, int) and not isinstance(each, bool) and each and each % BATCH == 0:
            return Images(each // BATCH)
        if isinstance(each, torch.device) and each.type == "meta":
            return OfImages()
        return each

    @contextmanager
    def watching_modules(self) -> Any:
        """Modules tell of their calls in the block."""
        by_torch = nn.Module.__call__

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if id(module) not in self._paths:
                return by_torch(module, *args, **kwargs)
            return self.call(module, partial(by_torch, module), args, kwargs)

        # In the place where torch.fx does it, too; modules keep their classes, which a forward pass
        # may ask for.
        nn.Module.__call__ = call
        try:
            with refusing_autocast(lambda: self._paused):
                yield
        finally:
            nn.Module.__call__ = by_torch

    def call(
        self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """A call of a module: recorded inside, or as one."""
        path = self._paths[id(module)]
        if self._paused:
            return forward(*args, **kwargs)
        if has_hooks(module) and (not path or path in self._opened):
            self.tape.why_leaves[path] = why = "it has hooks, which belong to the whole of it"
            if not path:
                raise CannotRecordError(f"{why}: remove them")
        elif not path:  # the root has no other way
            with leaving_random_states(), drawing_nothing(), assigning_nothing(module):
                return forward(*args, **kwargs)
        elif path in self._opened:
            done, known, made = len(self.tape.calls), dict(self._values), len(self.tape.examples)
            depth, counted = len(self._scope), Counter(self._calls)
            self._scope.append((path, self._calls[path]))
            self._calls[path] += 1
            self.tape.given[tuple(self._scope)] = self._known((args, kwargs))
            try:
                # With lists of its own, as it may change them before it fails.
                with leaving_random_states(), drawing_nothing(), assigning_nothing(module):
                    result = forward(*own_lists(args), **own_lists(kwargs))
                self.named(result)  # all of it is known
                return result
            except Exception as error:
                self.tape.why_leaves[path] = str(refusal_of(error))
                del self.tape.calls[done:], self.tape.examples[made:]
                self._values, self._calls = known, counted
                for held in self._memories.values():
                    held[:] = [each for each in held if getattr(each, "number", 0) < made]
            finally:
                del self._scope[depth:]
        given = own_lists((args, kwargs))  # it may change those that it gets
        before = versions((given, held := list(module.buffers())))
        self._paused = True
        try:
            with leaving_random_states():
                result = forward(*args, **kwargs)
        finally:
            self._paused = False
        self._note(path, *given, result, before, held)
        return result


def own_lists(structure: Any) -> Any:
    return mapped(lambda each: each, structure)


def tensors_in(structure: Any) -> list[torch.Tensor]:
    return [each for each in leaves(structure) if isinstance(each, torch.Tensor)]


def versions(structure: Any) -> list[int]:
    """How often each tensor, or another in the same memory, was changed in place."""
    return [each._version for each in tensors_in(structure)]


def calling_line() -> tuple[str, int] | None:
    """The place outside of torch and of this file that calls."""
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith((TORCH, __file__)):
        frame = frame.f_back
    if frame is None:
        return None
    return f"{frame.f_code.co_filename}:{frame.f_code.co_firstlineno}", frame.f_lasti
