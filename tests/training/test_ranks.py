"""Runs trained by two processes: as one process trains them, and exactly repeatable.

The processes are started once, train every case, and save what came of it.
"""

import io
import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import cross_entropy

from fobench.activations import places
from fobench.activations.plan import STORE_NOTHING, StorePlan
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.order import Indices
from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.freezing.schedule import learning_rate
from fobench.machine import clock, process_group
from fobench.machine.clock import Timing
from fobench.machine.launch import Launch
from fobench.machine.ranks import ALONE, Ranks, RanksOfGroup
from fobench.machine.seeds import generator
from fobench.methods import BaselineOptions
from fobench.models.base import ModelOptions
from fobench.training import loop
from fobench.training.batchnorm import synchronize_batch_norm
from fobench.training.loop import train
from fobench.training.state import Training, build_network
from tests.activations.small_runs import (
    CPU,
    Unseen,
    augmented,
    learned,
    loaded,
    method,
    plan_of_all,
    small_run,
)
from tests.freezing.test_parallel import free_port
from tests.training.twins import Twins

PROCESSES = 2
CASES: dict[str, Callable[[Run, Ranks], Any]] = {}


class ToType(nn.Module):
    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.dtype = getattr(torch, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype)


class SmallOptions(ModelOptions):
    """A network of five units; in float64, what differs is no rounding."""

    name: ClassVar[str] = "small"
    smallest_image: ClassVar[int] = 8

    dtype: str = "float64"
    dropout: float = 0.0

    def slug(self) -> str:
        return "small"

    def title(self) -> str:
        return "small network"

    def units(self, num_classes: int, in_channels: int) -> dict[str, nn.Module]:
        first = nn.Conv2d(in_channels, 6, 3, stride=4, padding=1, bias=False)
        blocks = {
            f"block{number}": nn.Sequential(
                *(nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)),
                nn.Dropout(self.dropout),
            )
            for number in range(3)
        }
        pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head = nn.Sequential(pool, nn.BatchNorm1d(6), nn.Linear(6, num_classes))
        stem = nn.Sequential(ToType(self.dtype), first, nn.BatchNorm2d(6))
        return {"stem": stem, **blocks, "head": head}

    def build(self, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Sequential:
        return super().build(num_classes, image_shape).to(getattr(torch, self.dtype))


class Counting(RanksOfGroup):
    """Counts the bytes of what is added up last."""

    bytes_added = 0

    def add(self, tensors: list[torch.Tensor]) -> None:
        self.bytes_added = sum(each.nbytes for each in tensors)
        super().add(tensors)


class BytesByDepth:
    """Progress that notes the bytes of each step by its number of frozen units."""

    def __init__(self, ranks: Counting) -> None:
        self._ranks, self.found = ranks, dict[int, set[int]]()

    def step(self, images: int, frozen: int) -> None:
        self.found.setdefault(frozen, set()).add(self._ranks.bytes_added)


def of_doubles(tiny: Path, **options: Any) -> Run:
    """8 epochs of 5 steps of 10 images, the last of 5: a rank has 5, and 3 or 2 of these."""
    run = method(replace(small_run(tiny, "densenet"), model=SmallOptions()), t0=0.3)
    return replace(run, train=run.train.replace(**options))


def trained(run: Run, ranks: Ranks, plan: StorePlan = STORE_NOTHING) -> dict[str, Any]:
    """Each epoch's results and the network's state after it; what was noted in the end."""
    training = Training(run, loaded(run), CPU, plan, ranks)
    found: dict[str, Any] = {"rows": [], "states": []}
    for row in train(training, Unseen()):
        found["rows"] += learned([row])
        found["states"].append(copied(training.network))
    stored, notes = training.activations.bytes, training.activations.notes
    return found | {"frozen": training.scheduler.frozen, "bytes": stored, "notes": notes}


def copied(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: each.clone() for key, each in network.state_dict().items()}


def case(work: Callable[[Run, Ranks], Any]) -> Callable[[Run, Ranks], Any]:
    CASES[work.__name__] = work
    return work


def synchronized_run(tiny: Path) -> Run:
    return of_doubles(tiny, sync_batchnorm=True, clip_grad_norm=0.5)


@case
def synchronized(tiny: Path, ranks: Ranks) -> Any:
    return trained(synchronized_run(tiny), ranks)


def independent_run(tiny: Path) -> Run:
    """Two epochs with nothing frozen."""
    run = replace(of_doubles(tiny, epochs=2), method=BaselineOptions())
    return augmented(run, "random")


@case
def normalised_by_each(tiny: Path, ranks: Ranks) -> Any:
    return trained(independent_run(tiny), ranks)


@case
def bytes_by_depth(tiny: Path, ranks: Ranks) -> Any:
    run, counting = of_doubles(tiny), Counting(ranks.rank, ranks.count)
    training, progress = Training(run, loaded(run), CPU, ranks=counting), BytesByDepth(counting)
    for _ in train(training, progress):
        pass
    return progress.found


def storing_run(tiny: Path, **options: Any) -> Run:
    """With dropout, whose masks differ, and BatchNorm of each rank's images."""
    run = replace(of_doubles(tiny), model=SmallOptions(dtype="float32", dropout=0.2))
    return method(augmented(run, "random"), views=2, **options)


@case
def without_store(tiny: Path, ranks: Ranks) -> Any:
    return trained(storing_run(tiny), ranks)


@case
def with_store(tiny: Path, ranks: Ranks) -> Any:
    run = storing_run(tiny, precompute=True, store="float32")
    return trained(run, ranks, plan_of_all(run, every=2))


@case
def no_room_for_one(tiny: Path, ranks: Ranks) -> Any:
    """The second rank has no room, the first has."""
    run = storing_run(tiny, precompute=True, store="float32")
    with pytest.MonkeyPatch.context() as patch:
        if ranks.rank:
            patch.setattr(places, "room_in_memory", lambda device: 0)
            patch.setattr(places, "room_on_disk", lambda: 0)
        return trained(run, ranks, plan_of_all(run, every=2))


@case
def resumed(tiny: Path, ranks: Ranks) -> Any:
    """A run with rounded stores, undisturbed and from its state in the middle."""
    run = storing_run(tiny, precompute=True, store="float16")
    whole, rows = Training(run, loaded(run), CPU, plan_of_all(run), ranks), []
    for row in train(whole, Unseen()):
        rows.append(row)
        if len(rows) == 5:
            saved = io.BytesIO()
            torch.save(whole.state_dict(), saved)
    saved.seek(0)
    again = Training(run, loaded(run), CPU, plan_of_all(run), ranks)
    again.load_state_dict(torch.load(saved, weights_only=True))
    later = list(train(again, Unseen()))
    return {
        "rows": (learned(rows[5:]), learned(later)),
        "states": (copied(whole.network), copied(again.network)),
        "bytes": (whole.activations.bytes, again.activations.bytes),
    }


@case
def objects(tiny: Path, ranks: Ranks) -> Any:
    """What the first one tells, and a flag that one of them raises."""
    ranks.tell({"a": 1}) if ranks.rank == 0 else None
    heard = ranks.hear() if ranks.rank else None
    lies_across = torch.arange(12.0).reshape(2, 2, 3).permute(2, 0, 1).bfloat16() * (ranks.rank + 1)
    tensors = ranks.gather(lies_across)
    flags = [ranks.all(True), ranks.all(ranks.rank == 0), ranks.all(torch.tensor(False))]
    return {"heard": heard, "tensors": tensors, "flags": flags, "hosts": ranks.on_this_host}


def work(rank: int, port: int, tiny: str, folder: str) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    ample = pytest.MonkeyPatch()
    ample.setattr(places, "room_in_memory", lambda device: 10**9)
    ranks = process_group.join(Launch(rank, PROCESSES, rank, ("127.0.0.1", port)), "cpu")
    found = {name: train_case(Path(tiny), ranks) for name, train_case in CASES.items()}
    torch.save(found, f"{folder}/{rank}.pt")
    ranks.gather_objects(None)
    os._exit(0)  # the second one would end with the first


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> list[dict[str, Any]]:
    """What each process found."""
    from tests.conftest import TINY

    folder = tmp_path_factory.mktemp("ranks")
    (folder / "tiny.toml").write_text(TINY)
    arguments = (free_port(), str(folder / "tiny.toml"), str(folder))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    torch.multiprocessing.spawn(work, arguments, nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]


def require_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_with_batchnorm_of_all_two_processes_train_as_one(both, tiny):
    """Weights, running statistics, losses and errors after each epoch, through all freezes."""
    alone = trained(synchronized_run(tiny), ALONE)
    found = both[0]["synchronized"]
    assert found["frozen"] == alone["frozen"] == 4
    for one, other in zip(found["states"], alone["states"], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    ours = torch.tensor([[each or 0 for each in row] for row in found["rows"]])
    theirs = torch.tensor([[each or 0 for each in row] for row in alone["rows"]])
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["synchronized", "normalised_by_each", "with_store"])
def test_both_processes_have_the_same_network_and_results_after_each_epoch(both, name):
    one, other = (found[name] for found in both)
    assert one["rows"] == other["rows"]
    for first, second in zip(one["states"], other["states"], strict=True):
        require_equal(first, second)


def test_each_rank_normalises_its_part_and_statistics_are_averaged(both, tiny):
    """Against two networks in one process, whose gradients are added up by hand."""
    run = independent_run(tiny)
    data, networks = loaded(run), [build_network(run).train() for _ in range(PROCESSES)]
    sgd = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1, **sgd) for each in networks]
    for epoch in range(2):
        order = torch.randperm(45, generator=generator(run.seed, epoch, "order"))
        view = data.train.draw_view(run.seed, epoch)
        for number, batch in enumerate(order.split(10), start=5 * epoch):
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = learning_rate(0.1, 1.0, number / 10)
                optimizer.zero_grad()
            middle = -(-len(batch) // 2)
            for network, part in zip(networks, (batch[:middle], batch[middle:]), strict=True):
                images, labels = data.train.batch(part, view)
                (cross_entropy(network(images), labels, reduction="sum") / len(batch)).backward()
            for one, other in zip(*(each.parameters() for each in networks), strict=True):
                one.grad += other.grad
                other.grad = one.grad.clone()
            for optimizer in optimizers:
                optimizer.step()
        for one, other in zip(*(each.buffers() for each in networks), strict=True):
            mean = (one + other) / 2 if one.is_floating_point() else one
            one.copy_(mean)
            other.copy_(mean)
        state = both[0]["normalised_by_each"]["states"][epoch]
        torch.testing.assert_close(state, networks[0].state_dict(), rtol=0, atol=1e-12)


def test_frozen_units_cost_no_traffic(both, tiny):
    """A step sends the gradients of the active units, 8 bytes a parameter, and nothing else."""
    parameters = [cost.parameters for cost in unit_costs_of(of_doubles(tiny))]
    expected = {depth: {8 * sum(parameters[depth:])} for depth in range(len(parameters))}
    assert both[0]["bytes_by_depth"] == both[1]["bytes_by_depth"] == expected


def test_a_float32_store_changes_no_bit(both):
    without, stored = both[0]["without_store"], both[0]["with_store"]
    assert stored["bytes"] > 0 == without["bytes"]
    assert stored["rows"] == without["rows"]
    require_equal(stored["states"][-1], without["states"][-1])


def test_if_one_rank_has_no_room_none_stores(both):
    for found in both:
        assert found["no_room_for_one"]["bytes"] == 0
        assert any("no room" in note for note in found["no_room_for_one"]["notes"])
    assert both[0]["no_room_for_one"]["rows"] == both[0]["without_store"]["rows"]


def test_a_run_resumed_in_the_middle_ends_with_the_same_bits(both):
    for found in (each["resumed"] for each in both):
        assert found["rows"][0] == found["rows"][1]
        assert found["bytes"][0] == found["bytes"][1] > 0
        require_equal(*found["states"])


def test_what_ranks_send_each_other(both):
    first, second = (each["objects"] for each in both)
    assert second["heard"] == {"a": 1}
    assert first["flags"] == second["flags"] == [True, False, False]
    assert first["hosts"] == second["hosts"] == PROCESSES
    for found in (first, second):
        one, other = found["tensors"]
        assert torch.equal(2 * one, other)
        assert one.stride() == other.stride() == (1, 6, 3)
        assert torch.equal(one, torch.arange(12.0).reshape(2, 2, 3).permute(2, 0, 1).bfloat16())


@pytest.mark.parametrize(("things", "ranks"), [(10, 1), (10, 2), (11, 4), (3, 5)])
def test_parts_are_a_row_of_equal_pieces(things, ranks):
    parts = [Ranks(rank, ranks).part(things) for rank in range(ranks)]
    assert [number for part in parts for number in range(things)[part]] == list(range(things))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == Ranks(0, ranks).largest_part(things)


def test_each_rank_has_dropout_masks_of_its_own(tiny):
    """What Python draws is the same, as it may decide which layers are run."""
    run, drawn = of_doubles(tiny), []
    for ranks in (ALONE, Twins(0, 2), Twins(1, 2)):
        training = Training(run, loaded(run), CPU, ranks=ranks)
        training.start_epoch(0)
        drawn.append((float(torch.rand(())), random.random(), np.random.rand()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[1][1:] == drawn[2][1:]


def test_the_ranks_start_the_clock_of_each_epoch_together(tiny, monkeypatch):
    """No epoch is charged for what the first rank wrote before, or the others lacked still."""
    events = []

    class Meeting(Twins):
        def all(self, flag: bool | torch.Tensor) -> bool:
            events.append("meet")
            return super().all(flag)

    def timed(device: torch.device) -> AbstractContextManager[Timing]:
        events.append("time")
        return clock.timed(device)

    monkeypatch.setattr(loop, "timed", timed)
    run = of_doubles(tiny, epochs=2)
    list(train(Training(run, loaded(run), CPU, ranks=Meeting(0, 2)), Unseen()))
    assert events == 2 * ["meet", "time", "time"]


def test_one_process_has_the_whole():
    batch = Indices.of(torch.arange(5), CPU)
    assert batch.part(ALONE.part(5)).host.tolist() == [0, 1, 2, 3, 4]
    assert ALONE.gather(batch.host) == [batch.host]
    assert ALONE.on_this_host == 1


def test_batchnorm_of_all_is_not_compiled(tiny):
    with pytest.raises(ValidationError, match="cannot be compiled by fuse_batchnorm = true"):
        of_doubles(tiny, sync_batchnorm=True, fuse_batchnorm=True)


@pytest.mark.parametrize("network", [nn.Sequential(nn.Linear(2, 2)), nn.Sequential()])
def test_batchnorm_of_all_needs_one(network):
    with pytest.raises(UserError, match="no BatchNorm: leave the option out"):
        synchronize_batch_norm(network, CPU)


def test_a_batchnorm_that_goes_its_own_way_is_refused():
    class Own(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).relu()

    with pytest.raises(UserError, match="has a Own, which goes its own way"):
        synchronize_batch_norm(nn.Sequential(Own(3), nn.BatchNorm2d(3)), CPU)
