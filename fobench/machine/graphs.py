"""CUDA graphs: work that is captured once and replayed with other inputs.

A replay starts all kernels of the work at once, where running it anew starts them one by one, which
takes longer than the kernels of small networks do. What it reads and writes lies where it lay when
the work was captured; nothing that Python decides in the work is decided again.
"""

import gc
import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from fobench.errors import UserError
from fobench.machine.device import synchronize
from fobench.machine.memory import is_out_of_memory, release_memory
from fobench.machine.ranks import current
from fobench.machine.values import Values, map_values, tensors_of

log = logging.getLogger(__name__)

T = TypeVar("T")
# A capture takes as long as some steps save: 2 of DenseNet-BC 76-12, 8 of VGG-16, 28 of WideResNet
# 40-4, by results/gpu-h100/steps.csv.
MIN_REPLAYS = 20


class CaptureError(UserError):
    """Work cannot be captured. The process cannot capture anything afterwards."""


def cannot_capture(reason: str) -> CaptureError:
    return CaptureError(
        f'a training step cannot be captured as a CUDA graph ({reason}): set train.step = "eager"'
    )


InPython = Callable[[], Mapping[str, Any]]


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names with another text, or another tensor, than before."""
    return [
        name
        for name, value in after.items()
        if value is not before.get(name)
        and not (isinstance(value, str) and value == before.get(name))
    ]


class Graphs:
    """Captures work on a device into graphs that share one pool of memory.

    They may share it, as each graph writes all that it reads there before it reads it, and no two
    replays overlap.

    Attributes:
        captures, seconds: the number of captures in each epoch, and the seconds that they took.
        notes: what was not captured, and why.
    """

    def __init__(self, device: torch.device) -> None:
        self.captures, self.seconds, self.notes = list[int](), list[float](), list[str]()
        self._captures, self._seconds = 0, 0.0  # since the last epoch ended
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        # A pool cannot be used again once none of its graphs is left: this one stays.
        kept = torch.zeros(1, device=device)
        self._keeper = self._capture(kept.zero_), kept

    def capture(
        self, work: Callable[[], T], in_python: InPython = dict
    ) -> tuple[Callable[[], None], T]:
        """A function that replays the work, and what the work returned: tensors that each replay
        fills. Capturing executes nothing.

        The work must have run once before, on inputs of the same shapes. `in_python` returns by
        name what Python may change in it: texts, and which tensors are used.

        Raises CaptureError, or an out-of-memory error.
        """
        synchronize(self._device)
        began, drawn = time.perf_counter(), self.random_state_of_the_host()
        held = in_python()
        try:
            captured = self._capture_or_make_room(work)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.debug("the capture failed", exc_info=error)
            raise cannot_capture(str(error).partition("\n")[0]) from error
        if self.random_state_of_the_host() != drawn:
            raise cannot_capture("it draws random numbers on the host, which a graph would not")
        for name in changed(held, in_python()):
            raise cannot_capture(f"it changes {name} in Python, which a graph would not")
        self._captures += 1
        self._seconds += time.perf_counter() - began
        return captured

    def _capture_or_make_room(self, work: Callable[[], T]) -> tuple[Callable[[], None], T]:
        if current().count > 1:
            # What the ranks do together is captured by all in one attempt, or NCCL waits forever.
            release_memory(self._device)
            return self._capture(work)
        try:
            return self._capture(work)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Not in the except block, where the error keeps tensors alive. What the steps before left
        # in torch's cache is not given to a graph.
        release_memory(self._device)
        return self._capture(work)

    def random_state_of_the_host(self) -> str:
        """Of all generators that a step might draw from, but for the device's, which replays do."""
        numbers, position = np.random.get_state()[1:3]
        drawn = f"{random.getstate()} {position}".encode()
        drawn += numbers.tobytes() + torch.get_rng_state().numpy().tobytes()
        return hashlib.sha256(drawn).hexdigest()

    def end_epoch(self) -> None:
        self.captures.append(self._captures)
        self.seconds.append(self._seconds)
        self._captures, self._seconds = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Also the entry in run.json: by epoch."""
        return {
            "captures": list(self.captures),
            "capture_seconds": list(self.seconds),
            "notes": list(self.notes),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the counts; graphs themselves are captured anew."""
        self.captures, self.seconds = list(state["captures"]), list(state["capture_seconds"])
        self.notes = list(state["notes"])
        self._captures, self._seconds = 0, 0.0  # what was captured to rebuild stores

    def _capture(self, work: Callable[[], T]) -> tuple[Callable[[], None], T]:
        graph = torch.cuda.CUDAGraph()
        with without_garbage_collection():
            # Only calls of this thread are checked: others may allocate pinned memory meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = work()
            except BaseException:
                with suppress(RuntimeError):  # the capture is invalid: the first error says why
                    graph.capture_end()
                raise
            graph.capture_end()
        return graph.replay, result


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Freeing device memory of unrelated objects could need calls that a capture forbids."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Repeated(Generic[T]):
    """Work that is repeated on inputs of the same shapes: captured in its second call.

    The first call runs it, which allocates what stays, such as momentum, and chooses algorithms.
    What a call returns is overwritten by the next. `in_python` is as for Graphs.capture.
    """

    def __init__(self, work: Callable[..., T], graphs: Graphs, in_python: InPython = dict) -> None:
        self._work, self._graphs, self._in_python = work, graphs, in_python
        self._has_run, self._has_room = False, True
        self._inputs: list[Values] = []
        self._replay: Callable[[], None] | None = None
        self._result: Any = None

    def __call__(self, *inputs: Values, calls_left: int = 0) -> T:
        """The work on these inputs; `calls_left` is how often, with this call, it will be called.

        It need not be known once the work is captured.

        Raises CaptureError.
        """
        if self._replay is None:
            if self._has_run and calls_left >= MIN_REPLAYS and self._has_room:
                self._capture(inputs)
            if self._replay is None:
                self._has_run = True
                return self._work(*inputs)
        for static, given in zip(self._inputs, inputs, strict=True):
            for one, other in zip(tensors_of(static), tensors_of(given), strict=True):
                one.copy_(other)
        self._replay()
        return self._result

    def _capture(self, inputs: Sequence[Values]) -> None:
        self._inputs = [map_values(torch.clone, each) for each in inputs]
        try:
            self._replay, self._result = self._graphs.capture(
                lambda: self._work(*self._inputs), self._in_python
            )
        except RuntimeError as error:
            # All ranks capture, or none.
            if not is_out_of_memory(error) or current().count > 1:
                raise
            self._inputs, self._has_room = [], False
            note = "no memory for a CUDA graph: training goes on with eager steps"
            log.warning("%s", note)
            self._graphs.notes += [] if note in self._graphs.notes else [note]

    @property
    def is_captured(self) -> bool:
        return self._replay is not None
