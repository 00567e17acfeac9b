"""FreezeOut in several processes, by DistributedDataParallel and without (two of gloo, on the CPU).

The code of each way is that of docs/freezeout-in-your-loop.md.
"""

import os
import socket
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from fobench import FreezeOut
from tests.docs.pages import examples_of

STEPS, PROCESSES, FEATURES, CLASSES = 16, 2, 6, 3
FIRST_FREEZE = 4
WAYS = (
    "One all-reduce a step",
    "A new wrapper at each freeze",
    "A wrapper for each unit",
    "One wrapper that looks for unused parameters",
)
Ends = dict[str, Tensor]  # how a network ended: its state


def network(dropout: float = 0.0, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    blocks = [
        nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.BatchNorm1d(FEATURES), nn.Dropout(dropout))
        for _ in range(3)
    ]
    return nn.Sequential(*blocks, nn.Linear(FEATURES, CLASSES)).double()


def optimizer_of(units: nn.Sequential) -> SGD:
    groups = [{"params": unit.parameters()} for unit in units]
    return SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-2)


def freezeout_of(units: nn.Module, optimizer: SGD, total_steps: int = STEPS) -> FreezeOut:
    """Freezes a unit every four steps."""
    return FreezeOut(units, optimizer, total_steps, t0=0.25, scaling="linear")


def batch(step: int, rank: int) -> tuple[Tensor, Tensor]:
    """Each process has its own images."""
    random = torch.Generator().manual_seed(PROCESSES * step + rank)
    images = torch.randn(8, FEATURES, generator=random, dtype=torch.float64)
    return images, torch.randint(0, CLASSES, (8,), generator=random)


def trained_by_one_process() -> Ends:
    """With the batches of all processes in each step, and running statistics for each of them.

    A unit that freezes keeps those of the first.
    """
    plain = network()
    freezeout = freezeout_of(plain, optimizer_of(plain))
    statistics = [dict(network().named_buffers()) for _ in range(PROCESSES)]
    for step in range(STEPS):
        frozen = freezeout.frozen
        freezeout.step()
        if freezeout.frozen > frozen:
            statistics = [
                {name: each.clone() for name, each in statistics[0].items()} for _ in statistics
            ]
        freezeout.optimizer.zero_grad()
        for rank in range(PROCESSES):
            images, labels = batch(step, rank)
            logits = functional_call(plain, statistics[rank], images)
            (cross_entropy(logits, labels) / PROCESSES).backward()
        freezeout.optimizer.step()
    return plain.state_dict() | statistics[0]


# What each of the processes does.


def names_for_the_page() -> dict:
    """What the reader of the page has; each process begins with weights of its own."""
    plain = network(seed=dist.get_rank())
    return {
        **{"torch": torch, "dist": dist, "DistributedDataParallel": DistributedDataParallel},
        **{"FreezeOut": freezeout_of, "cross_entropy": cross_entropy, "total_steps": STEPS},
        **{"network": plain, "optimizer": optimizer_of(plain)},
        "batches": [batch(step, dist.get_rank()) for step in range(STEPS)],
    }


def as_on_the_page(way: str) -> Ends:
    names = names_for_the_page()
    exec(examples_of("docs/freezeout-in-your-loop.md", way), names)
    assert names["freezeout"].frozen == 3
    return names["network"].state_dict()


def fully_sharded() -> Ends:
    from torch.distributed.fsdp import fully_shard

    plain = network()
    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    for each in (*plain, plain):
        fully_shard(each, mesh=mesh)
    freezeout = freezeout_of(plain, optimizer_of(plain))
    for step in range(STEPS):
        frozen = freezeout.frozen
        freezeout.step()
        if freezeout.frozen > frozen:
            for buffer in plain.buffers():
                dist.broadcast(buffer, src=0)
        update(plain, freezeout.optimizer, step)
    state = plain.state_dict()
    return {
        name: each.full_tensor() if hasattr(each, "full_tensor") else each
        for name, each in state.items()
    }


def past_the_wrapper() -> Ends:
    """The wrapped network is called in place of the wrapper."""
    plain = network()
    parallel = DistributedDataParallel(plain, find_unused_parameters=True)
    freezeout = freezeout_of(parallel, optimizer_of(plain))
    for step in range(STEPS):
        freezeout.step()
        update(plain, freezeout.optimizer, step)
    return plain.state_dict()


def unknown_wrapper(**options: bool) -> dict:
    """A wrapper that waits for frozen parameters, of which FreezeOut does not know."""
    plain = network()
    parallel = DistributedDataParallel(plain, **options)
    freezeout = freezeout_of(plain, optimizer_of(plain))
    gradients = []
    for step in range(STEPS):
        freezeout.step()
        try:
            update(parallel, freezeout.optimizer, step)
        except RuntimeError as error:
            return {"step": step, "error": str(error), "gradient": gradients[-1]}
        gradients.append(plain[-1].weight.grad.clone())
    return {}


def frozen_within_an_accumulation() -> str:
    plain = network()
    parallel = DistributedDataParallel(plain, find_unused_parameters=True)
    freezeout = freezeout_of(parallel, optimizer_of(plain))
    for step in range(STEPS):
        with parallel.no_sync():
            backward(parallel, step)
        freezeout.step()
        try:
            update(parallel, freezeout.optimizer, step)
        except RuntimeError as error:
            return str(error)
    return ""


def backward(parallel: nn.Module, step: int) -> None:
    images, labels = batch(step, dist.get_rank())
    cross_entropy(parallel(images), labels).backward()


def update(parallel: nn.Module, optimizer: SGD, step: int) -> None:
    optimizer.zero_grad()
    backward(parallel, step)
    optimizer.step()


class Watch:
    """Compares frozen units, after each step, with what they were after their first forward pass.

    In that pass the wrapper copies the running statistics of the first process to the others.
    """

    def __init__(self, plain: nn.Sequential) -> None:
        self.plain, self.states = plain, {}

    def check(self, frozen_in_pass: int) -> None:
        for index in range(frozen_in_pass):
            state = {key: each.clone() for key, each in self.plain[index].state_dict().items()}
            before = self.states.setdefault(index, state)
            assert all(torch.equal(each, before[key]) for key, each in state.items()), index
            assert not any(module.training for module in self.plain[index].modules())


def step_first(parallel: nn.Module, freezeout: FreezeOut, watch: Watch) -> None:
    for step in range(STEPS):
        parallel.train()
        freezeout.step()
        update(parallel, freezeout.optimizer, step)
        watch.check(freezeout.frozen)


def step_last(parallel: nn.Module, freezeout: FreezeOut, watch: Watch) -> None:
    for step in range(STEPS):
        parallel.train()
        frozen = freezeout.frozen
        update(parallel, freezeout.optimizer, step)
        freezeout.step()
        watch.check(frozen)


def accumulated(parallel: nn.Module, freezeout: FreezeOut, watch: Watch) -> None:
    """Two micro-batches a step, of which only the second is synchronized."""
    for step in range(STEPS):
        freezeout.step()
        freezeout.optimizer.zero_grad()
        with parallel.no_sync():
            backward(parallel, 2 * step)
        parallel.train()
        backward(parallel, 2 * step + 1)
        freezeout.optimizer.step()
        watch.check(freezeout.frozen)


def watched(order: Callable) -> Ends:
    """Trained by one wrapper, with dropout, in an order of calls that people write."""
    plain = network(dropout=0.1)
    parallel = DistributedDataParallel(plain, find_unused_parameters=True)
    order(parallel, freezeout_of(parallel, optimizer_of(plain)), Watch(plain))
    return plain.state_dict()


def work(rank: int, port: int, folder: str) -> None:
    """One of the processes: trains in every way, and saves how each network ended."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", address, rank=rank, world_size=PROCESSES)
    found = {
        "exact": {way: as_on_the_page(way) for way in WAYS} | {"sharded": fully_sharded()},
        "watched": [watched(order) for order in (step_first, step_last, accumulated)],
        "past_the_wrapper": past_the_wrapper(),
        "unknown": [unknown_wrapper(), unknown_wrapper(static_graph=True)],
        "accumulation": frozen_within_an_accumulation(),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads outlive the group, and can abort Python's end


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_each_way_on_the_page_is_exact_and_each_trap_is_one(tmp_path):
    """Through all freezes, as one process trains with the images of all; one start for all cases.

    A failed assertion in a process fails the test: frozen units are bit for bit as they froze.
    """
    torch.multiprocessing.spawn(work, (free_port(), str(tmp_path)), nprocs=PROCESSES)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES))
    weights = [name for name, _ in network().named_parameters()]
    expected = trained_by_one_process()
    for way, ends in first["exact"].items():
        for name, each in ends.items():
            assert torch.allclose(each, expected[name], rtol=0, atol=1e-12), (way, name)
        assert all(torch.equal(ends[name], second["exact"][way][name]) for name in weights), way
    for one, other in zip(first["watched"], second["watched"], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in weights)

    one, other = first["past_the_wrapper"], second["past_the_wrapper"]
    assert not any(torch.equal(one[name], other[name]) for name in weights), "nothing exchanged"
    for one, other in zip(first["unknown"], second["unknown"], strict=True):
        assert one["step"] == other["step"] == FIRST_FREEZE + 1
        assert "Expected to have finished reduction" in one["error"]
        assert not torch.equal(one["gradient"], other["gradient"]), "silent in the first step"
    assert "Encountered gradient which is undefined" in first["accumulation"]


@pytest.fixture
def _alone():
    """A process group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("options", [{}, {"find_unused_parameters": True, "static_graph": True}])
def test_a_wrapper_that_would_wait_for_frozen_units_is_refused_with_the_remedy(options):
    plain = network()
    parallel = DistributedDataParallel(plain, **options)
    with pytest.raises(ValueError, match="find_unused_parameters=True and without static_graph"):
        freezeout_of(parallel, optimizer_of(plain))
    with pytest.raises(ValueError, match="give FreezeOut the network itself"):
        freezeout_of([DistributedDataParallel(unit) for unit in plain], optimizer_of(plain))
