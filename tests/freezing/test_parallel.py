"""FreezeOut under DistributedDataParallel, in two processes on the CPU (gloo)."""

import os
import socket
from collections.abc import Callable

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from fobench import FreezeOut

STEPS, PROCESSES = 16, 2


def network() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.1)) for _ in range(3)]
    return nn.Sequential(*blocks, nn.Linear(6, 3))


def start(plain: nn.Sequential, units: nn.Module) -> FreezeOut:
    groups = [{"params": unit.parameters()} for unit in plain]
    optimizer = SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-2)
    return FreezeOut(units, optimizer, STEPS, t0=0.2, scaling="linear")


def backward(parallel: nn.Module, step: int) -> None:
    """Each process has its own images."""
    rank = torch.distributed.get_rank()
    images = torch.randn(8, 6, generator=torch.Generator().manual_seed(PROCESSES * step + rank))
    (parallel(images) - 1).square().mean().backward()


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


def step_first(parallel: nn.Module, plain: nn.Sequential, freezeout: FreezeOut) -> None:
    watch = Watch(plain)
    for step in range(STEPS):
        parallel.train()
        freezeout.step()
        update(parallel, freezeout.optimizer, step)
        watch.check(freezeout.frozen)


def step_last(parallel: nn.Module, plain: nn.Sequential, freezeout: FreezeOut) -> None:
    watch = Watch(plain)
    for step in range(STEPS):
        parallel.train()
        frozen = freezeout.frozen
        update(parallel, freezeout.optimizer, step)
        freezeout.step()
        watch.check(frozen)


def accumulated(parallel: nn.Module, plain: nn.Sequential, freezeout: FreezeOut) -> None:
    """Two micro-batches a step, of which only the second is synchronized."""
    watch = Watch(plain)
    for step in range(STEPS):
        freezeout.step()
        freezeout.optimizer.zero_grad()
        with parallel.no_sync():
            backward(parallel, 2 * step)
        parallel.train()
        backward(parallel, 2 * step + 1)
        freezeout.optimizer.step()
        watch.check(freezeout.frozen)


def wrapped_once(order: Callable) -> nn.Sequential:
    """The wrapper looks for parameters without gradients; FreezeOut takes the wrapped network."""
    plain = network()
    parallel = DistributedDataParallel(plain, find_unused_parameters=True)
    order(parallel, plain, start(plain, parallel))
    return plain


def wrapped_anew(_: Callable) -> nn.Sequential:
    """A new wrapper at each freeze synchronises what still trains, and nothing else."""
    plain = network()
    freezeout, frozen = start(plain, plain), 0
    parallel = DistributedDataParallel(plain)
    watch = Watch(plain)
    for step in range(STEPS):
        freezeout.step()
        if freezeout.frozen > frozen:
            frozen = freezeout.frozen
            parallel = DistributedDataParallel(plain)
        update(parallel, freezeout.optimizer, step)
        watch.check(frozen)
    return plain


CASES = [
    (wrapped_once, step_first),
    (wrapped_once, step_last),
    (wrapped_anew, step_first),
    (wrapped_once, accumulated),
]


def work(rank: int, port: int, folder: str) -> None:
    """One of the processes: trains in every way, and saves how each network ended."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    ends = [wrap(order).state_dict() for wrap, order in CASES]
    torch.save(ends, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_frozen_units_are_bit_identical_and_processes_agree(tmp_path):
    """Each way trains through all freezes; a failed assertion in a process fails the test."""
    torch.multiprocessing.spawn(work, (free_port(), str(tmp_path)), nprocs=PROCESSES)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES))
    for first, second in zip(one, other, strict=True):
        assert all(torch.equal(each, second[key]) for key, each in first.items())
    assert all(torch.equal(each, one[2][key]) for key, each in one[0].items()), (
        "both ways of wrapping compute the same"
    )


@pytest.fixture
def _alone(monkeypatch):
    """A process group of one process."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("options", [{}, {"find_unused_parameters": True, "static_graph": True}])
def test_a_wrapper_that_would_wait_for_frozen_units_is_refused_with_the_remedy(options):
    plain = network()
    parallel = DistributedDataParallel(plain, **options)
    with pytest.raises(ValueError, match="find_unused_parameters=True and without static_graph"):
        start(plain, parallel)
