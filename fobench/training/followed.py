"""A run as the ranks behind the first train it: in step with it, writing nothing."""

from contextlib import suppress
from dataclasses import dataclass

import torch

from fobench.activations.plan import StorePlan
from fobench.data.split import Data
from fobench.experiment.run import Run
from fobench.machine.memory import release_memory, reset_peak_memory
from fobench.machine.ranks import Ranks
from fobench.training.loop import DivergedError, train
from fobench.training.state import Training


@dataclass(frozen=True)
class RunToFollow:
    """What the first rank tells the others: a run, and what it stores.

    If the run `resumes`, its state is the next message.
    """

    run: Run
    plan: StorePlan
    resumes: bool


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


def follow(told: RunToFollow, data: Data, device: torch.device, ranks: Ranks) -> None:
    """Train a run with the first rank.

    Raises LostRankError if that stops, as for its time limit.
    """
    state = ranks.hear() if told.resumes else None
    training = Training(told.run, data, device, told.plan, ranks)
    if state is not None:
        training.load_state_dict(state)
        del state  # which would take memory during the whole training
    reset_peak_memory(device)
    with suppress(DivergedError):  # the first rank records it
        for _ in train(training, Unseen()):
            pass
    del training
    release_memory(device)
