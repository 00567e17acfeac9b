"""Ranks: processes that train one run together, each on its part of every batch.

All collective operations are called by all ranks in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from fobench.machine.memory import is_out_of_memory

FIRST = 0  # the rank that plans, writes and reports


class LostRankError(Exception):
    """Another rank has ended, or cannot be reached, so that this one cannot go on."""


class Ranks:
    """A process that trains alone: its part is the whole, and no operation does anything.

    Attributes:
        rank: the process's number, from 0.
        count: how many train together.
        hosts: the host of each, as `host()` tells it; none for a single process.
    """

    def __init__(self, rank: int = 0, count: int = 1, hosts: Sequence[str] = ()) -> None:
        self.rank, self.count, self.hosts = rank, count, tuple(hosts)

    def part(self, count: int) -> slice:
        """This rank's part of `count` things in a row. The sizes of parts differ by one at most."""
        size, larger = divmod(count, self.count)
        start = self.rank * size + min(self.rank, larger)
        return slice(start, start + size + (self.rank < larger))

    def largest_part(self, count: int) -> int:
        return -(-count // self.count)

    @property
    def turns(self) -> slice:
        """This rank's things where they are dealt out in turn."""
        return slice(self.rank, None, self.count)

    @property
    def on_this_host(self) -> int:
        """How many of the ranks are on this process's host, with it."""
        return self.hosts.count(self.hosts[self.rank]) if self.hosts else 1

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the ranks: in one piece, without waiting for it."""

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, like `add`."""

    def copy_from_first(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by that of the first rank, in one piece."""

    def all(self, flag: bool | torch.Tensor) -> bool:
        """Whether it is true on all ranks; waits for the device."""
        return bool(flag)

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all ranks, which are of one shape and ordered in memory alike."""
        return [tensor]

    def tell(self, message: object) -> None:
        """Send the other ranks, which `hear` it, a message of the first."""

    def hear(self) -> Any:
        """The first rank's next message; waits for it."""
        raise RuntimeError("a process that trains alone hears nothing")

    def gather_objects(self, value: Any) -> list[Any]:
        """The values of all ranks."""
        return [value]


ALONE = Ranks()
_current = ALONE


def current() -> Ranks:
    """The ranks that this process has joined; ALONE if none."""
    return _current


def be_current(ranks: Ranks) -> None:
    """Note that this process has joined these."""
    global _current
    _current = ranks


class RanksOfGroup(Ranks):
    """The ranks of torch's default process group. Where one is lost, LostRankError is raised."""

    def __init__(
        self,
        rank: int,
        count: int,
        hosts: Sequence[str] = (),
        why_lost: Callable[[], str] = lambda: "",
    ) -> None:
        """`why_lost` says which rank is lost, and why; "" if none is known to be."""
        super().__init__(rank, count, hosts)
        self._why_lost = why_lost

    @torch.no_grad()
    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        for same in by_dtype(tensors):
            joined = flattened(same)
            self.add_joined(joined)
            copy_back(joined, same)

    @torch.no_grad()
    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        for same in by_dtype(tensors):
            joined = flattened(same)
            self.add_joined(joined)
            copy_back(joined.div_(self.count), same)

    def add_joined(self, joined: torch.Tensor) -> None:
        """Replace a contiguous tensor by its sum over the ranks."""
        with self._one_collective():
            distributed.all_reduce(joined)

    @torch.no_grad()
    def copy_from_first(self, tensors: Sequence[torch.Tensor]) -> None:
        for same in by_dtype(tensors):
            joined = flattened(same)
            with self._one_collective():
                distributed.broadcast(joined.view(torch.uint8), FIRST)  # of any type
            copy_back(joined, same)

    def all(self, flag: bool | torch.Tensor) -> bool:
        failures = torch.as_tensor(flag).logical_not().long().reshape(1)
        self.add_joined(failures)
        return not failures

    @torch.no_grad()
    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        # As bytes, in the order of the memory: not all types and orders are sent everywhere.
        mine = torch.empty_like(tensor).copy_(tensor)
        found = [torch.empty_like(mine) for _ in range(self.count)]
        with self._one_collective():
            distributed.all_gather([as_in_memory(each) for each in found], as_in_memory(mine))
        return found

    def tell(self, message: object) -> None:
        with self._one_collective():
            distributed.broadcast_object_list([message], FIRST)

    def hear(self) -> Any:
        heard: list[Any] = [None]
        with self._one_collective():
            distributed.broadcast_object_list(heard, FIRST)
        return heard[0]

    def gather_objects(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.count
        with self._one_collective():
            distributed.all_gather_object(found, value)
        return found

    @contextmanager
    def _one_collective(self) -> Iterator[None]:
        """Raises LostRankError for an error of the block, as then a rank does not take part.

        Out-of-memory errors stay what they are.
        """
        try:
            yield
        except RuntimeError as error:
            if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                raise  # the capture says what it cannot take
            if is_out_of_memory(error):
                raise
            # A network between GPUs that does not work fails in all of them, with none lost.
            reason = str(error).partition("\n")[0]
            why = self._why_lost() or f"the processes cannot reach each other: {reason}"
            raise LostRankError(why) from error


def by_dtype(tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    found: dict[torch.dtype, list[torch.Tensor]] = {}
    for each in tensors:
        found.setdefault(each.dtype, []).append(each)
    return list(found.values())


def flattened(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """A copy of the tensors, which are of one type, in one piece."""
    return torch.cat([each.reshape(-1) for each in tensors])


def copy_back(joined: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Copy what `flattened` made of the tensors back into them."""
    pieces = joined.split([each.numel() for each in tensors])
    torch._foreach_copy_(
        list(tensors), [piece.view(each.shape) for piece, each in zip(pieces, tensors, strict=True)]
    )


def as_in_memory(tensor: torch.Tensor) -> torch.Tensor:
    """A view [bytes] of a tensor without gaps, in the order of its memory."""
    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8)
