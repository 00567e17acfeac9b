"""The state of a run in training: network, optimizer, scheduler, activations and progress."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from fobench.activations.inputs import Activations
from fobench.activations.plan import STORE_NOTHING, StorePlan
from fobench.data.split import Data
from fobench.experiment.options import TrainOptions
from fobench.experiment.run import Run
from fobench.machine.device import set_determinism
from fobench.machine.memory import reset_peak_memory
from fobench.machine.seeds import seed_globally
from fobench.training.warmup import warm_up


class Training:
    """All state that changes during training. Random numbers depend only on the run's seed."""

    def __init__(
        self, run: Run, data: Data, device: torch.device, plan: StorePlan = STORE_NOTHING
    ) -> None:
        set_determinism(run.train.deterministic)
        self.run, self.data, self.device = run, data, device
        self.network = build_network(run).to(device, memory_format=torch.channels_last)
        self.optimizer, self.scheduler = run.method.start(
            self.network, lambda groups: sgd(groups, run.train), run.info(len(self.network))
        )
        self.activations = Activations(run, self.network, data.train, plan)
        self.step, self.total_train_seconds = 0, 0.0
        warm_up(self.network, self.optimizer, data.train, run.train.batch_size)
        reset_peak_memory(device)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return -(-self.step // self.run.steps_per_epoch)

    @property
    def is_done(self) -> bool:
        return self.step == self.run.total_steps

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to resume exactly, between two epochs."""
        return {
            "step": self.step,
            "total_train_seconds": self.total_train_seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.scheduler.state_dict(),
            "activations": self.activations.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state` was saved, in a new Training of the same run."""
        self.step, self.total_train_seconds = state["step"], state["total_train_seconds"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["method"])
        self.activations.load_state_dict(state["activations"])


def build_network(run: Run) -> nn.Sequential:
    """The run's network with the initial weights of its seed, the same on every device."""
    seed_globally(run.seed, 0, "weights")
    channels = run.data_used.image_shape[2]
    return run.model.build(run.data_used.classes, channels)


def sgd(groups: Iterable[Any], options: TrainOptions) -> Optimizer:
    return SGD(
        groups,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
    )
