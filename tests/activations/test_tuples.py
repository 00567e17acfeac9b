"""Units that hand over tuples, write in place and order memory their own way, stored or not."""

import copy
import io
from dataclasses import replace

import pytest
import torch
from torch import nn

from fobench.activations import places
from fobench.activations.places import NoRoomError, places_for
from fobench.activations.plan import STORE_NOTHING
from fobench.activations.speed import bytes_at_cuts, largest_activations, measure_place
from fobench.activations.store import DTYPES, Store
from fobench.experiment.run import Run
from fobench.machine.values import map_values, tensors_of
from fobench.models import FAMILIES
from fobench.records.runs import read_record
from fobench.training.loop import train
from fobench.training.state import Training
from fobench.training.warmup import warm_up
from tests.activations.small_runs import (
    CPU,
    IMAGES,
    Unseen,
    augmented,
    learned,
    loaded,
    method,
    plan_of_all,
    same_weights,
    small_run,
    train_all,
)
from tests.tuples import TuplesOptions

PLACES = places_for(CPU)
# Values of 6 images, each in an order of memory that some network leaves.
LAYOUTS = {
    "channels last": torch.randn(6, 4, 5, 3).permute(0, 3, 1, 2),
    "channels first": torch.randn(6, 3, 4, 5),
    "height innermost": torch.randn(6, 3, 5, 4).transpose(2, 3),
    "channels behind": torch.randn(6, 4, 5, 3),
    "one channel, last": torch.randn(6, 4, 5, 1).permute(0, 3, 1, 2),
    "one pixel, channels last": torch.randn(6, 1, 1, 7).permute(0, 3, 1, 2),
    "one pixel, channels first": torch.randn(6, 7, 1, 1),
    "tokens": torch.randn(6, 5, 3),
    "tokens transposed": torch.randn(6, 3, 5).transpose(1, 2),
    "batch within tokens": torch.randn(5, 6, 3).transpose(0, 1),
    "batch innermost": torch.randn(4, 5, 3, 6).permute(3, 0, 1, 2),
    "vectors": torch.randn(6, 5),
    "numbers": torch.randn(6),
}
GAPS = {
    "part of the channels": torch.randn(6, 8, 4, 5)[:, 2:5],
    "expanded": torch.randn(1, 1, 3).expand(6, 5, 3),
}


@pytest.fixture
def run(tiny) -> Run:
    return replace(small_run(tiny, "densenet"), model=TuplesOptions())


def filled(values, dtype=torch.float32, place="host memory") -> Store:
    """A store of 6 images, written in two parts."""
    store = Store(6, values, dtype, place, CPU)
    store.write(0, map_values(lambda each: each[:4], values))
    store.write(4, map_values(lambda each: each[4:], values))
    store.finish()
    return store


def test_the_network_hands_over_what_these_tests_are_about(run):
    network = run.model.build(10, (32, 32, 3)).to(memory_format=torch.channels_last).eval()
    images = torch.randn(10, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.no_grad():
        grid, tokens = network[:3](images)
        assert not network[:4](images)[0].is_contiguous()
    assert grid.shape == (10, 8, 8, 5)
    assert grid.is_contiguous()
    assert tokens.shape == (10, 16, 4)
    assert tokens.stride() == (4, 40, 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tuple_is_read_as_it_was_written_with_the_strides_it_had(place, dtype):
    values = tuple(LAYOUTS.values())
    store = filled(values, DTYPES[dtype], place)
    assert store.bytes == DTYPES[dtype].itemsize * sum(each.numel() for each in values)
    order = torch.tensor([3, 0, 5, 1, 1, 2])
    for (name, each), read in zip(LAYOUTS.items(), store.read(order), strict=True):
        assert torch.equal(read, each[order].to(DTYPES[dtype]).float()), name
        assert read.stride() == each.stride(), name


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("place", places.PLACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_cuda_a_tuple_is_read_as_it_was_written_with_the_strides_it_had(place, dtype):
    cuda = torch.device("cuda")
    values = tuple(torch.empty_like(each, device=cuda).copy_(each) for each in LAYOUTS.values())
    store = Store(6, values, DTYPES[dtype], place, cuda)
    store.write(0, values)
    store.finish()
    order = torch.tensor([3, 0, 5, 1, 1, 2])
    read = store.read(order.to(store.device))
    for each, found in zip(values, read, strict=True):
        assert torch.equal(found, each[order.to(cuda)].to(DTYPES[dtype]).float())
        assert found.stride() == each.stride()


@pytest.mark.parametrize("name", [*LAYOUTS, *GAPS])
def test_fewer_or_more_images_are_read_with_strides_like_those(name):
    """In the same order of memory, without gaps."""
    values = (LAYOUTS | GAPS)[name]
    for count in (1, 2, 9):
        indices = torch.arange(count) % 6
        read = filled(values).read(indices)
        assert torch.equal(read, values[indices])
        order = sorted(range(values.dim()), key=lambda dim: -torch.empty_like(values).stride(dim))
        assert read.permute(order).is_contiguous()


def test_a_tensor_is_no_tuple_and_a_tuple_of_one_stays_one():
    values = torch.randn(6, 5)
    assert torch.equal(filled(values).read(torch.arange(6)), values)
    (read,) = filled((values,)).read(torch.arange(6))
    assert torch.equal(read, values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_read_may_be_written_to(dtype):
    """Neither the store nor the other tensors change, though two were stored from one."""
    one = torch.randn(6, 4, 2, 2).to(memory_format=torch.channels_last)
    store = filled((one, one, one[:, :2]), DTYPES[dtype])
    before = store.read(torch.arange(6))
    read = store.read(torch.arange(6))
    for number, each in enumerate(read):
        each.fill_(number)
    assert [each.unique().tolist() for each in read] == [[0], [1], [2]]
    again = store.read(torch.arange(6))
    assert all(torch.equal(*each) for each in zip(before, again, strict=True))


@pytest.mark.parametrize("place", PLACES)
def test_what_does_not_fit_together_is_refused(place, monkeypatch):
    """Each alone would fit."""
    pair = torch.randn(6, 4), torch.randn(6, 4)
    for name in ("room_in_memory", "room_on_disk"):
        monkeypatch.setattr(places, name, lambda *_: 150)
    Store(6, pair[0], torch.float32, place, CPU)
    with pytest.raises(NoRoomError, match="are more than the 150 that the reserve leaves"):
        Store(6, pair, torch.float32, place, CPU)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("augment", "views"), [("none", None), ("random", 2)])
def test_a_float32_store_changes_no_bit(run, augment, views, place):
    run = augmented(run, augment)
    plain, rows = train_all(method(run, views=views), STORE_NOTHING)
    storing = method(run, views=views, precompute=True, store="float32")
    plan = replace(plan_of_all(storing), place=place)
    training, stored_rows = train_all(storing, plan)
    assert learned(stored_rows) == learned(rows)
    assert same_weights(training, plain)
    assert {cut for _, cut in plan.builds} >= {1, 3, 4}
    assert not training.activations.notes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_stores_hold_the_bytes_that_the_plan_counts_and_train(run, dtype):
    """And compute the same without room."""
    storing = method(augmented(run, "none"), precompute=True, store=dtype)
    plan = plan_of_all(storing)
    _, rows = train_all(storing, plan)
    sizes = bytes_at_cuts(storing, DTYPES[dtype])
    assert sizes[1:4] == tuple(2 * each for each in (6 * 16, 6 * 16 + 16, 5 * 16 + 16))
    held = [(row.cached_units, row.cache_bytes) for row in rows]
    assert held == [(cut, IMAGES * sizes[cut]) for cut, _ in held]
    assert {cut for cut, _ in held} >= {1, 3, 4}
    _, computed = train_all(storing, plan_of_all(storing, room=1))
    assert learned(computed) == learned(rows)
    _, exact = train_all(method(augmented(run, "none")), STORE_NOTHING)
    assert learned(exact) != learned(rows), "nothing was rounded"
    assert rows[-1].train_loss == pytest.approx(exact[-1].train_loss, rel=0.02)


def test_activations_of_a_tuple_that_float16_cannot_hold_are_not_stored(run):
    """One number in its second tensor is enough."""
    storing = method(augmented(run, "none"), precompute=True)
    plan = plan_of_all(storing)
    training = Training(storing, loaded(run), CPU, plan)
    training.network[2].mix.bias.data[0] = 1e6
    training.network.eval()
    epoch, cut = next(build for build in plan.builds if build[1] == 3)
    training.activations.start(epoch)
    training.activations.build(cut)
    assert training.activations.bytes == 0
    assert "exceed the range of float16" in training.activations.notes[0]


@pytest.mark.parametrize("too_few", [0, 1])
def test_a_store_of_a_tuple_is_built_if_the_budget_holds_all_of_it(run, too_few):
    storing = method(augmented(run, "none"), precompute=True)
    (epoch, cut) = next(build for build in plan_of_all(storing).builds if build[1] == 3)
    size = IMAGES * bytes_at_cuts(storing, torch.float16)[cut]
    training = Training(storing, loaded(run), CPU, plan_of_all(storing, room=size - too_few))
    training.network.eval()
    training.activations.start(epoch)
    training.activations.build(cut)
    assert training.activations.bytes == (0 if too_few else size)
    assert len(training.activations.notes) == too_few


@pytest.mark.parametrize(("dtype", "views"), [("float32", 2), ("float16", 1)])
def test_a_resumed_run_makes_the_same_stores_again(run, dtype, views):
    storing = method(run, views=views, precompute=True, store=dtype)
    whole, rows, states = Training(storing, loaded(run), CPU, plan_of_all(storing)), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    for epochs in (3, 5, 7):
        states[epochs - 1].seek(0)
        resumed = Training(storing, loaded(run), CPU)
        resumed.load_state_dict(torch.load(states[epochs - 1], weights_only=True))
        assert resumed.activations.bytes == rows[epochs - 1].cache_bytes > 0
        assert learned(list(train(resumed, Unseen()))) == learned(rows[epochs:])
        assert same_weights(resumed, whole)


def test_steps_behind_a_frozen_unit_that_hands_over_a_tuple_are_warmed_up(run):
    """As they are where BatchNorm and ReLU are compiled. The network stays as it was."""
    conv, branch, *others = run.model.build(10, (16, 16, 3))
    network = nn.Sequential(nn.Sequential(conv, branch), *others)
    before = copy.deepcopy(network.state_dict())
    compiled = replace(run, train=run.train.replace(fuse_batchnorm=True))
    warm_up(network, torch.optim.SGD(network.parameters(), lr=0.1), loaded(run), compiled)
    assert all(torch.equal(before[key], each) for key, each in network.state_dict().items())


@pytest.mark.parametrize("name", PLACES)
def test_the_speed_of_a_place_is_measured_on_the_largest_tuple(run, name):
    network = run.model.build(10, (16, 16, 3)).eval()
    split = loaded(run).train
    with torch.no_grad():
        found = largest_activations(network, split.images_at(torch.arange(10)))
    assert [tuple(each.shape) for each in tensors_of(found)] == [(10, 6, 4, 4), (10, 4, 2, 2)]
    place = measure_place(name, network, split, 10, torch.float16)
    assert min(place.read, place.write) > 0


def test_such_a_network_is_measured_planned_and_trained_from_the_command_line(
    fobench, tiny, tmp_path, monkeypatch
):
    monkeypatch.setitem(FAMILIES, "tuples", TuplesOptions)
    text = tiny.read_text().replace("densenet", "tuples").replace("depth = 10", "")
    head, _, _ = text.replace("growth_rate = 4", "").partition("[[method]]")
    tiny.write_text(head + '[[method]]\nname = "freezeout"\nt0 = 0.2\nprecompute = true\n')
    words = ("run", tiny, "--device", "cpu", "--set", "data.augment=none")
    ran = fobench(*words)
    assert ran.exit_code == 0, ran.output
    (folder,) = tmp_path.glob("results/tiny/tuples*")
    record = read_record(folder)
    assert record["status"] == "finished"
    assert "store_plan" in record
    sizes = [unit["activation_bytes"] // 4 for unit in record["units"]]
    assert sizes == [6 * 64, 6 * 64 + 64, 5 * 64 + 64, 5 * 64 + 64 + 4, 10]
