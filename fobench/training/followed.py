"""A run as the ranks behind the first train it: in step with it, writing nothing."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from fobench.activations.plan import StorePlan
from fobench.data.split import Data
from fobench.experiment.run import Run
from fobench.machine.memory import release_memory
from fobench.machine.ranks import Ranks
from fobench.training.loop import DivergedError, train
from fobench.training.state import Training


@dataclass(frozen=True)
class RunToFollow:
    """What the first rank tells the others: a run, what it stores, where it resumes, if it does."""

    run: Run
    plan: StorePlan
    state: dict[str, Any] | None


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


def follow(told: RunToFollow, data: Data, device: torch.device, ranks: Ranks) -> None:
    """Train a run with the first rank.

    Raises LostRankError if that stops, as for its time limit.
    """
    training = Training(told.run, data, device, told.plan, ranks)
    if told.state is not None:
        training.load_state_dict(told.state)
    with suppress(DivergedError):  # the first rank records it
        for _ in train(training, Unseen()):
            pass
    del training
    release_memory(device)
