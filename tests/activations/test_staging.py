"""Copies between stores on the host and a device, with a stand-in for CUDA.

Its streams order nothing; its calls are recorded. What is copied to its device stays in the pinned
buffer, so that it is lost if the buffer is used again too early.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from fobench.activations import places, staging
from fobench.activations.layout import Layout
from fobench.activations.staging import BUFFERS, Staging
from fobench.activations.store import Store, StoredTensor

CPU = torch.device("cpu")


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """What is asked of streams and events, in order."""
    found: list[str] = []

    def recorded(name: str):
        return lambda *_: found.append(name)

    def event() -> SimpleNamespace:
        return SimpleNamespace(record=recorded("copied"), synchronize=recorded("host waits"))

    def stream(*_) -> SimpleNamespace:
        return SimpleNamespace(
            wait_stream=recorded("copies wait"), wait_event=recorded("work waits")
        )

    cuda = SimpleNamespace(
        Stream=stream, Event=event, current_stream=stream, stream=lambda _: nullcontext()
    )
    staging.copy_stream.cache_clear()
    monkeypatch.setattr(staging.torch, "cuda", cuda)
    monkeypatch.setattr(staging, "pinned", lambda shape, dtype: torch.empty(shape, dtype=dtype))
    monkeypatch.setattr(torch.Tensor, "record_stream", recorded("kept until then"))
    yield found
    staging.copy_stream.cache_clear()


def test_work_waits_for_what_is_copied_to_it_and_copies_for_what_they_copy(calls):
    """Each on its own stream, whose memory is kept until the other has passed."""
    rows, made = torch.randn(9, 2), Staging(CPU)
    made.to_device(rows, torch.tensor([1]))
    assert calls == ["host waits", "copied", "work waits", "kept until then"]
    calls.clear()
    made.to_host(torch.ones(2, 2), rows[:2])
    assert calls == ["host waits", "copies wait", "copied", "kept until then"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_written_to_a_store_on_the_host_may_be_overwritten_at_once(
    calls, dtype, monkeypatch
):
    """As a graph's output is by the next replay, before the copy of it has begun."""
    copies: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr(Staging, "to_host", lambda _, *copy: copies.append(copy))
    monkeypatch.setattr(places, "room_in_memory", lambda device: 10**9)
    values = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    store = Store(4, values, dtype, "host memory", torch.device("cuda"))
    store.write(0, values)
    ((typed, target),) = copies
    expected = values.to(dtype).permute(0, 2, 3, 1).clone()
    values.zero_()
    assert torch.equal(typed, expected)
    assert typed.is_contiguous()
    assert target.data_ptr() == store._tensors[0].rows.data_ptr()


def test_a_tensor_on_the_host_comes_back_with_its_strides(calls):
    """Each tensor of a tuple has buffers of its own, as they differ in shape."""
    pair = torch.randn(8, 5, 4, 3).permute(0, 3, 2, 1), torch.randn(4, 8, 2).transpose(0, 1)
    stored = []
    for values in pair:
        layout = Layout.of(values)
        rows = torch.zeros(8, *layout.row_shape, dtype=torch.float16)
        stored.append(StoredTensor(rows, layout, torch.float32, Staging(CPU)))
    for start in range(0, 8, 2):
        for each, values in zip(stored, pair, strict=True):
            each.write(start, values[start : start + 2])
    order = torch.tensor([5, 1, 1, 7, 0, 2, 3, 6])
    for each, values in zip(stored, pair, strict=True):
        each.finish()
        read = each.read(order)
        assert torch.equal(read, values[order].half().float())
        assert read.stride() == values.stride()


def test_what_is_copied_to_the_host_is_there_when_all_copies_are_finished(calls):
    """Chunks of a store, more than there are buffers, the last one shorter."""
    rows, made = torch.zeros(23, 2), Staging(CPU)
    chunks = torch.arange(46.0).view(23, 2).split(3)
    for number, chunk in enumerate(chunks):
        made.to_host(chunk, rows[3 * number : 3 * number + len(chunk)])
    assert not torch.equal(rows, torch.cat(chunks)), "the last copies are under way"
    made.finish()
    assert torch.equal(rows, torch.cat(chunks))


def test_a_buffer_is_used_again_only_after_all_others_and_when_its_copy_is_done(calls):
    rows, made = torch.randn(9, 2), Staging(CPU)
    under_way: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number in range(3 * BUFFERS):
        indices = torch.tensor([number % 9, 2])
        under_way = [*under_way, (made.to_device(rows, indices), rows[indices])][-BUFFERS:]
        assert all(torch.equal(copied, expected) for copied, expected in under_way)
        assert calls.count("host waits") == number + 1


def test_batches_may_differ_in_length(calls):
    rows, made = torch.randn(9, 2), Staging(CPU)
    for length in (2, 5, 1, 3, 5, 4, 1):
        assert torch.equal(made.to_device(rows, torch.arange(length)), rows[:length])
