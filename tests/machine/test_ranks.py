"""What ranks say when they cannot work together."""

import pytest
import torch
from torch import distributed

from fobench.errors import UserError
from fobench.machine import process_group
from fobench.machine.launch import Launch
from fobench.machine.ranks import LostRankError, RanksOfGroup


@pytest.fixture
def failing(monkeypatch):
    """Have each collective raise an error."""

    def fail_with(error: Exception) -> None:
        def fail(tensor: torch.Tensor) -> None:
            raise error

        monkeypatch.setattr(distributed, "all_reduce", fail)

    return fail_with


def test_a_lost_rank_is_why_a_collective_fails(failing):
    failing(RuntimeError("Connection closed by peer"))
    with pytest.raises(LostRankError, match=r"^process 1 has ended$"):
        RanksOfGroup(0, 2, why_lost=lambda: "process 1 has ended").all(True)


def test_the_error_of_a_collective_is_told_if_no_rank_is_lost(failing):
    """As where GPUs cannot reach each other."""
    failing(RuntimeError("NCCL error: unhandled system error\nmore of it"))
    reason = r"^the processes cannot reach each other: NCCL error: unhandled system error$"
    with pytest.raises(LostRankError, match=reason):
        RanksOfGroup(0, 2).all(True)


def test_a_collective_without_memory_says_so(failing):
    failing(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        RanksOfGroup(0, 2).all(True)


def test_the_end_of_the_first_process_is_told_to_those_that_wait_for_others(monkeypatch):
    """Its store ends with it."""

    def fail(store: distributed.Store, launch: Launch) -> None:
        raise distributed.DistNetworkError("Failed to recv, got 0 bytes.\nmore of it")

    monkeypatch.setattr(process_group, "connect", lambda launch: distributed.HashStore())
    monkeypatch.setattr(process_group, "wait_for_all", fail)
    with pytest.raises(UserError, match=r"the 3 processes cannot be connected: .*0 bytes\.$"):
        process_group.join(Launch(1, 3, 1, ("localhost", 29500)), "cpu")


def test_processes_do_not_join_those_of_another_command():
    """These would not start together, but wait forever."""
    store, launch = distributed.HashStore(), Launch(1, 2, 1, ("localhost", 29500))
    store.add("rank 0", 1)
    process_group.wait_for_all(store, launch)
    with pytest.raises(UserError, match="MASTER_PORT = 29500 is in use by other processes"):
        process_group.wait_for_all(store, launch)


def test_of_several_ranks_that_are_lost_the_first_is_told(monkeypatch):
    """The others fail by its loss."""
    monkeypatch.setattr(process_group, "SECONDS_FOR_NEWS", 0.0)
    watch = process_group.Watch(Launch(), None, may_hang=False)
    monkeypatch.setattr(watch, "_receive", {1: "Connection reset by peer", 2: ""}.get)
    assert watch.why_lost() == ""
    watch._notice(2)
    watch._notice(1)
    assert watch.why_lost() == "process 2 has ended"
