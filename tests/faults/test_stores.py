"""Runs whose stores have no room, lose it, or are rebuilt: always the same numbers."""

import gc
import weakref
from dataclasses import replace

import pytest

from fobench.activations import frozen_prefix
from fobench.activations.places import PLACES, NoRoomError
from fobench.activations.plan import STORE_NOTHING
from fobench.activations.store import Store
from fobench.training.loop import train
from fobench.training.state import Training
from tests.activations.small_runs import (
    CPU,
    Unseen,
    augmented,
    first_images,
    learned,
    loaded,
    method,
    plan_of_all,
    same_weights,
    train_all,
)


@pytest.mark.parametrize("fits", ["none", "some"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_store_beyond_the_budget_is_computed_to_the_same_numbers(run, fits, dtype, caplog):
    """The plan decides what is rounded, whether there is room to store it or not."""
    storing = method(augmented(run, "none"), precompute=True, store=dtype)
    _, rows = train_all(storing, plan_of_all(storing))
    held = [row.cache_bytes for row in rows if row.cache_bytes]
    # Enough for the first store, not for a second one.
    room = 1 if fits == "none" else held[0]
    training, small_rows = train_all(storing, plan_of_all(storing, room=room))
    assert learned(small_rows) == learned(rows)
    assert [row.cache_bytes for row in small_rows if row.cache_bytes] == (
        [] if fits == "none" else [held[0]] * len(held)
    )
    notes = training.activations.notes
    assert len(notes) == len(training.activations.plan.builds) - (fits == "some")
    assert all("exceeds the budget" in note and note in caplog.text for note in notes)


def test_a_later_store_that_fits_the_budget_is_built_though_earlier_ones_did_not(run):
    """The smallest comes late, has the budget to itself, and then stays."""
    storing = method(augmented(run, "none"), precompute=True)
    _, rows = train_all(storing, plan_of_all(storing))
    sizes = [row.cache_bytes for row in rows]
    smallest = min(size for size in sizes if size)
    assert max(sizes) > smallest
    training, late_rows = train_all(storing, plan_of_all(storing, room=smallest))
    assert learned(late_rows) == learned(rows)
    first = sizes.index(smallest)
    held = [0] * first + [smallest] * (len(sizes) - first)
    assert [row.cache_bytes for row in late_rows] == held
    assert len(training.activations.notes) == len(training.activations.plan.builds) - 1


@pytest.mark.parametrize("fits", ["none", "some"])
def test_a_run_without_room_trains_without(run, fits):
    """Values that are not stored are rounded too."""
    run = augmented(run, "none")
    storing = method(run, precompute=True)
    _, rows = train_all(storing, plan_of_all(storing))
    held = [row.cache_bytes for row in rows if row.cache_bytes]
    plan = plan_of_all(storing, room=1 if fits == "none" else held[0])
    whole, whole_rows = train_all(storing, plan)
    first = Training(storing, loaded(run), CPU, plan)
    epochs = train(first, Unseen())
    before = [next(epochs) for _ in range(5)]
    second = Training(storing, loaded(run), CPU)
    second.load_state_dict(first.state_dict())
    after = list(train(second, Unseen()))
    columns = [(row.cached_units, row.cache_bytes) for row in before + after]
    assert columns == [(row.cached_units, row.cache_bytes) for row in whole_rows]
    assert learned(before + after) == learned(rows)
    assert second.activations.notes == whole.activations.notes


def test_memory_exhausted_in_the_midst_of_building_ends_no_run(run, monkeypatch):
    storing = method(augmented(run, "none"), precompute=True, store="float32")
    _, rows = train_all(storing, plan_of_all(storing))
    write, written = Store.write, []

    def fail_once(kept, start, values):
        written.append(start)
        if len(written) == 3:
            raise RuntimeError("CUDA error: out of memory")
        write(kept, start, values)

    monkeypatch.setattr(Store, "write", fail_once)
    training, computed = train_all(storing, plan_of_all(storing))
    assert learned(computed) == learned(rows)
    assert "out of memory" in training.activations.notes[0]
    assert training.activations.bytes == 0


def test_memory_exhausted_while_building_uses_the_disk_or_no_store(run, monkeypatch):
    storing = method(augmented(run, "none"), precompute=True, store="float32")
    _, rows = train_all(storing, plan_of_all(storing))

    def full(shape, dtype, device):
        raise NoRoomError("nothing left")

    broken = replace(PLACES["host memory"], allocate=full)
    monkeypatch.setitem(PLACES, "host memory", broken)
    training, on_disk = train_all(storing, plan_of_all(storing))
    assert training.activations.bytes > 0
    monkeypatch.setitem(PLACES, "scratch file", broken)
    without, computed = train_all(storing, plan_of_all(storing))
    assert learned(on_disk) == learned(computed) == learned(rows)
    assert training.activations.notes == ["a store is in the scratch file, not in the host memory"]
    assert ["nothing left" in note for note in without.activations.notes] == [True]
    assert [row.cached_units for row in computed] == [0] * 8


def test_a_store_that_was_replaced_is_freed_where_the_next_lies_further_away(run, monkeypatch):
    """At once, as the next store may need its memory."""
    storing = method(augmented(run, "none"), precompute=True)

    def full(shape, dtype, device):
        raise NoRoomError("nothing left")

    broken = replace(PLACES["host memory"], allocate=full)
    monkeypatch.setitem(PLACES, "host memory", broken)
    alive, initialise = weakref.WeakSet(), Store.__init__

    def watched(self, *words):
        initialise(self, *words)
        alive.add(self)

    monkeypatch.setattr(Store, "__init__", watched)
    plan = plan_of_all(storing)
    training = Training(storing, loaded(run), CPU, plan)
    training.network.eval()
    gc.disable()
    try:
        for epoch, cut in plan.builds[:2]:
            training.activations.start(epoch)
            training.activations.inputs(first_images(), cut)
            assert len(alive) == 1
    finally:
        gc.enable()


def test_activations_that_float16_cannot_hold_are_not_stored(run, monkeypatch):
    storing = method(augmented(run, "none"), precompute=True)
    plan = plan_of_all(storing)
    real = frozen_prefix.forward
    monkeypatch.setattr(frozen_prefix, "forward", lambda units, x: 1e6 * real(units, x))
    training = Training(storing, loaded(run), CPU, plan)
    training.network.eval()
    training.activations.start(plan.builds[0][0])
    values, prefix = training.activations.inputs(first_images(), plan.builds[0][1])
    values = prefix.forward(list(training.network), values)
    assert values.isfinite().all()
    assert values.abs().max() > 65504
    assert "exceed the range of float16" in training.activations.notes[0]
    assert training.activations.bytes == training.activations.cut == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("views", [None, 2])
def test_a_resumed_run_makes_the_same_stores_again(run, dtype, views):
    run = augmented(run, "random" if views else "none")
    storing = method(run, views=views, precompute=True, store=dtype)
    plan = plan_of_all(storing)
    whole, rows = train_all(storing, plan)
    for stop in (4, 6):
        first = Training(storing, loaded(run), CPU, plan)
        epochs = train(first, Unseen())
        before = [next(epochs) for _ in range(stop)]
        second = Training(storing, loaded(run), CPU, STORE_NOTHING)
        second.load_state_dict(first.state_dict())
        after = list(train(second, Unseen()))
        assert learned(before + after) == learned(rows)
        columns = [(row.cached_units, row.cache_bytes) for row in before + after]
        assert columns == [(row.cached_units, row.cache_bytes) for row in rows]
        assert same_weights(second, whole)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_resumed_run_where_room_has_gone_computes_the_same_numbers(run, dtype, monkeypatch):
    run = augmented(run, "none")
    storing = method(run, precompute=True, store=dtype)
    plan = plan_of_all(storing)
    whole, rows = train_all(storing, plan)
    first = Training(storing, loaded(run), CPU, plan)
    epochs = train(first, Unseen())
    before = [next(epochs) for _ in range(5)]
    assert before[-1].cache_bytes > 0

    def full(shape, dtype, device):
        raise NoRoomError("nothing left")

    for name in ("host memory", "scratch file"):
        monkeypatch.setitem(PLACES, name, replace(PLACES[name], allocate=full))
    second = Training(storing, loaded(run), CPU)
    second.load_state_dict(first.state_dict())
    after = list(train(second, Unseen()))
    assert learned(before + after) == learned(rows)
    assert same_weights(second, whole)
    assert [(row.cached_units, row.cache_bytes) for row in after] == [(0, 0)] * 3
    assert ["nothing left" in note for note in second.activations.notes] == [True]
