"""Copies between stores on the host and a device, with a stand-in for CUDA.

Its streams order nothing and its events count who waits for them. What is copied to its device
stays in the pinned buffer, so that it is lost if the buffer is used again too early.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from fobench.activations import staging
from fobench.activations.staging import BUFFERS, Staging

CPU = torch.device("cpu")


@pytest.fixture
def waits(monkeypatch) -> list[str]:
    """An entry for each wait for an event."""
    found: list[str] = []

    def event() -> SimpleNamespace:
        return SimpleNamespace(record=lambda: None, synchronize=lambda: found.append("copied"))

    def stream(*_) -> SimpleNamespace:
        return SimpleNamespace(wait_stream=lambda _: None, wait_event=lambda _: None)

    cuda = SimpleNamespace(
        Stream=stream, Event=event, current_stream=stream, stream=lambda _: nullcontext()
    )
    monkeypatch.setattr(staging.torch, "cuda", cuda)
    monkeypatch.setattr(staging, "pinned", lambda shape, dtype: torch.empty(shape, dtype=dtype))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    return found


def test_what_is_copied_to_the_host_is_there_when_all_copies_are_finished(waits):
    """Chunks of a store, more than there are buffers, the last one shorter."""
    rows, made = torch.zeros(23, 2), Staging(CPU)
    chunks = torch.arange(46.0).view(23, 2).split(3)
    for number, chunk in enumerate(chunks):
        made.to_host(chunk, rows[3 * number : 3 * number + len(chunk)])
    assert not torch.equal(rows, torch.cat(chunks)), "the last copies are under way"
    made.finish()
    assert torch.equal(rows, torch.cat(chunks))


def test_a_buffer_is_used_again_only_after_all_others_and_when_its_copy_is_done(waits):
    rows, made = torch.randn(9, 2), Staging(CPU)
    under_way: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number in range(3 * BUFFERS):
        indices = torch.tensor([number % 9, 2])
        under_way = [*under_way, (made.to_device(rows, indices), rows[indices])][-BUFFERS:]
        assert all(torch.equal(copied, expected) for copied, expected in under_way)
        assert len(waits) == number + 1


def test_batches_may_differ_in_length(waits):
    rows, made = torch.randn(9, 2), Staging(CPU)
    for length in (2, 5, 1, 3, 5, 4, 1):
        assert torch.equal(made.to_device(rows, torch.arange(length)), rows[:length])
