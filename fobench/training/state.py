"""The state of a run in training: network, optimizer, scheduler, activations and progress."""

from typing import Any

import torch
from torch import nn

from fobench.activations.inputs import Activations
from fobench.activations.plan import STORE_NOTHING, StorePlan
from fobench.costs.flops import freeze_steps_of
from fobench.cutting.cut_network import memory_format_of
from fobench.data.order import Indices
from fobench.data.split import Data
from fobench.experiment.run import Run
from fobench.freezing.groups import scale_rates
from fobench.freezing.schedule import warmup_factor
from fobench.machine.device import prepare, step_mode
from fobench.machine.graphs import Graphs
from fobench.machine.ranks import ALONE, Ranks
from fobench.machine.seeds import derive, seed_globally
from fobench.models.fusion import fuse_batch_norm_relu
from fobench.training.batchnorm import average_running_statistics, synchronize_batch_norm
from fobench.training.optimizer import build_optimizer, load_state
from fobench.training.snapshots import Snapshots
from fobench.training.step import EagerStep, GraphStep, Step, StepsUntilFreeze
from fobench.training.warmup import warm_up


class Training:
    """All state that changes during training. Random numbers depend only on the run's seed."""

    def __init__(
        self,
        run: Run,
        data: Data,
        device: torch.device,
        plan: StorePlan = STORE_NOTHING,
        ranks: Ranks = ALONE,
    ) -> None:
        prepare(device, run.train)
        self.run, self.data, self.device, self.ranks = run, data, device, ranks
        network = build_network(run)
        if run.train.sync_batchnorm and ranks.count > 1:
            synchronize_batch_norm(network, device)
        self.network = network.to(device, memory_format=memory_format_of(network))
        # A user's network may draw its weights from a generator of its own.
        ranks.copy_from_first(weights_of(self.network))
        self.optimizer = build_optimizer(self.network, run.train)
        info = run.info(len(self.network))
        self.scheduler = run.method.start(self.network, self.optimizer, info)
        self._warmup_steps = run.warmup_steps
        self._steps_of_a_start = run.method.steps_of_a_start(run.total_steps)
        self.graphs = Graphs(device) if step_mode(device, run.train) == "graph" else None
        self.take_step = self._step()
        self.activations = Activations(run, self.network, data.train, plan, self.graphs, ranks)
        self.snapshots = Snapshots(run)
        self.step, self.total_train_seconds = 0, 0.0
        self.warmup_peak_bytes = warm_up(self.network, self.optimizer, data, run, ranks)

    def _step(self) -> Step:
        eager = EagerStep(self.network, self.optimizer, self.run.train, self.ranks)
        if self.graphs is None:
            return eager
        run = self.run
        until_freeze = StepsUntilFreeze(
            freeze_steps_of(run), run.total_steps, run.steps_per_epoch, run.train.batch_size
        )
        return GraphStep(eager, self.graphs, until_freeze)

    def part_of(self, batch: Indices) -> Indices:
        """This rank's part of a batch."""
        return batch if self.ranks.count == 1 else batch.part(self.ranks.part(len(batch)))

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return -(-self.step // self.run.steps_per_epoch)

    @property
    def is_done(self) -> bool:
        return self.step == self.run.total_steps

    def start_member(self) -> None:
        """Give the network new initial weights, if a member of an ensemble is due to start anew."""
        if self.run.method.starts_members_anew and self.snapshots.starts_member(self.step):
            self._start_anew(member=len(self.snapshots))

    def start_epoch(self, epoch: int) -> None:
        """Prepare the network and its inputs."""
        seed_globally(self.run.seed, epoch, "dropout")
        if self.ranks.rank:
            # Masks of its own; what Python draws, which may decide what is run, is drawn by all.
            torch.manual_seed(derive(self.run.seed, epoch, f"dropout of rank {self.ranks.rank}"))
        self.network.train()
        self.activations.start(epoch)

    def prepare_step(self, number: int) -> None:
        """Set the learning rates of step `number` of the run, and freeze the units that are due.

        These are equal on all ranks from now on, also in what their BatchNorms have seen.
        """
        before = self.scheduler.frozen
        self.scheduler.step()
        if self.scheduler.frozen > before:
            frozen = list(self.network)[before : self.scheduler.frozen]
            average_running_statistics(frozen, self.ranks)
        step = number % self._steps_of_a_start
        if step < self._warmup_steps:
            factor = warmup_factor(step, self._warmup_steps)
            scale_rates(self.optimizer.param_groups, factor)

    def end_epoch(self, steps: int) -> None:
        """Count the epoch's steps, record what its stores and captures took, take a snapshot.

        The ranks' networks are equal then.
        """
        self.step += steps
        average_running_statistics(list(self.network)[self.scheduler.frozen :], self.ranks)
        self.activations.end()
        if self.graphs:
            self.graphs.end_epoch()
        if self.snapshots.ends_member(self.step):
            self.snapshots.take(self.network, self.scheduler.frozen)

    def _start_anew(self, member: int) -> None:
        """New initial weights and no moments, in place, as captured steps read them there."""
        self.network.load_state_dict(build_network(self.run, member).state_dict())
        self.ranks.copy_from_first(weights_of(self.network))
        for state in self.optimizer.state.values():
            for moment in filter(torch.is_tensor, state.values()):
                moment.zero_()  # and the steps that AdamW has counted

    def summary(self) -> dict[str, Any]:
        """The entries in run.json on stores and graphs; none without them."""
        stores = {"store": self.activations.summary()} if self.run.method.stores.precompute else {}
        return stores | ({"graphs": self.graphs.state_dict()} if self.graphs else {})

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to resume exactly, between two epochs."""
        return {
            "step": self.step,
            "units": [name for name, _ in self.network.named_children()],
            "total_train_seconds": self.total_train_seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.scheduler.state_dict(),
            "activations": self.activations.state_dict(),
            "graphs": self.graphs.state_dict() if self.graphs else None,
            "snapshots": self.snapshots.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state` was saved, in a new Training of the same run."""
        self.step, self.total_train_seconds = state["step"], state["total_train_seconds"]
        self.network.load_state_dict(state["network"])
        load_state(self.optimizer, state["optimizer"], self.device)
        self.scheduler.load_state_dict(state["method"])
        self.activations.load_state_dict(state["activations"])
        if self.graphs:
            self.graphs.load_state_dict(state["graphs"])
        if self.run.method.ensemble_size > 1:
            self.snapshots.load_state_dict(state["snapshots"])


def weights_of(network: nn.Module) -> list[torch.Tensor]:
    """All parameters and buffers."""
    return [*network.parameters(), *network.buffers()]


def build_network(run: Run, member: int = 0) -> nn.Sequential:
    """The run's network with the initial weights of its seed, the same on every device.

    The members of an ensemble, counted from 0, differ in their weights.
    """
    seed_globally(run.seed, member, "weights")
    network = run.model.build(run.data_used.classes, run.data_used.image_shape)
    if run.train.fuse_batchnorm:
        fuse_batch_norm_relu(network)
    return network
