"""The first rank of a sweep, which has the others train as it does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from fobench.errors import UserError
from fobench.machine import environment
from fobench.machine.ranks import LostRankError, Ranks


@dataclass(frozen=True)
class Start:
    """How all ranks train; with the machine to themselves if `timed`."""

    device: torch.device
    threads: int
    timed: bool


@contextmanager
def lost_ranks_as_messages() -> Iterator[None]:
    """Raises UserError for a rank that is lost in the block, where that fails no run."""
    try:
        yield
    except LostRankError as error:
        raise UserError(f"{error}: the same command resumes") from error


def lead(ranks: Ranks, device: torch.device, timed: bool) -> None:
    """Have the other ranks train as this one does.

    Raises UserError if their machines differ, as results would depend on which rank is where, or if
    two have one GPU.
    """
    if ranks.count == 1:
        return
    ranks.tell(Start(device, torch.get_num_threads(), timed))
    require_like_machines(meet(ranks, device))


def meet(ranks: Ranks, device: torch.device) -> list[dict[str, Any]]:
    """The environments of all ranks, once all are there."""
    return ranks.gather_objects(environment.describe(device))


def require_like_machines(environments: Sequence[dict[str, Any]]) -> None:
    """Raises UserError if the ranks' machines are not of one kind, with a GPU each, if any."""
    first, *others = (environment.kind_of_machine(each) for each in environments)
    for number, other in enumerate(others, start=1):
        different = [
            f"{key} {value} (of the first: {first[key]})"
            for key, value in other.items()
            if value != first[key]
        ]
        if different:
            raise UserError(
                f"process {number} has {', '.join(different)}: start all on machines of one kind, "
                "with one version of torch"
            )
    cards = [each["gpu_uuid"] for each in environments if each["gpu_uuid"] is not None]
    if len(set(cards)) < len(cards):
        raise UserError(
            f"{len(cards)} processes have {len(set(cards))} GPUs: start no more than there are, "
            "and let each see all of its host, or one of its own"
        )
