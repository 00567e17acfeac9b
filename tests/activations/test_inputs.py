"""Stored activations: the same inputs, bit for bit where that is promised."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fobench.activations import frozen_prefix
from fobench.activations.frozen_prefix import forward
from fobench.activations.places import PLACES
from fobench.activations.plan import STORE_NOTHING, ForwardCosts, Place, best_plan
from fobench.activations.plan_file import frozen_epochs_of
from fobench.activations.store import DTYPES, Store
from fobench.costs.flops import freeze_steps_of
from fobench.data import split
from fobench.data.order import Indices
from fobench.experiment.config import load
from fobench.models import build
from fobench.training.loop import train
from fobench.training.state import Training
from tests.activations.small_runs import (
    AMPLE,
    CPU,
    DATASET,
    IMAGES,
    Unseen,
    augmented,
    first_images,
    learned,
    loaded,
    method,
    plan_of_all,
    same_weights,
    small_run,
    train_all,
)
from tests.networks import EACH, EXAMPLES

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("batch_size", [10, 50, 64])
@pytest.mark.parametrize("family", EACH)
def test_an_eval_forward_does_not_depend_on_neighbours_or_place(family, batch_size):
    """What bit-identity rests on: a sample's activations in a full batch are its own."""
    torch.manual_seed(0)
    network = build(family, 10, 3, **EXAMPLES[family]).to(memory_format=torch.channels_last)
    network.train()
    images = torch.randn(3 * batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    network(images)  # running statistics other than those of the start
    network.eval()
    elsewhere = torch.randperm(len(images))
    with torch.no_grad():
        for cut in range(1, len(network)):
            units = network[:cut]
            here = torch.cat([units(part) for part in images.split(batch_size)])
            there = torch.cat([units(part) for part in images[elsewhere].split(batch_size)])
            assert torch.equal(here[elsewhere], there), (family, cut)


@pytest.mark.parametrize("family", EACH)
@pytest.mark.parametrize("profile", ["cpu", pytest.param("paper", marks=pytest.mark.slow)])
def test_an_eval_forward_of_the_configs_networks_does_not_depend_on_them_either(profile, family):
    """At their widths and batch sizes, through one unit after another."""
    experiment = load(CONFIGS / profile / f"{family}.toml")
    torch.manual_seed(0)
    network = experiment.model.build(10, (32, 32, 3)).to(memory_format=torch.channels_last)
    images = torch.randn(2 * experiment.train.batch_size, 3, 32, 32)
    images = images.to(memory_format=torch.channels_last)
    with torch.no_grad():
        network.train()(images)
    network.eval()
    elsewhere = torch.randperm(len(images))
    here = images.split(experiment.train.batch_size)
    there = images[elsewhere].split(experiment.train.batch_size)
    with torch.no_grad():
        for unit in network[:-1]:
            here, there = ([unit(part) for part in parts] for parts in (here, there))
            assert torch.equal(torch.cat(here)[elsewhere], torch.cat(there))


@pytest.mark.slow
@pytest.mark.parametrize(("augment", "views"), [("none", None), ("random", 2)])
@pytest.mark.parametrize("family", EACH)
def test_a_float32_store_changes_no_bit_of_the_networks_of_the_configs(
    tiny, family, augment, views
):
    """At their widths, on few images in small batches."""
    model = load(CONFIGS / "cpu" / f"{family}.toml").model
    run = augmented(replace(small_run(tiny, family), model=model), augment)
    plain, rows = train_all(method(run, views=views), STORE_NOTHING)
    storing = method(run, views=views, precompute=True, store="float32")
    training, stored_rows = train_all(storing, plan_of_all(storing))
    assert learned(stored_rows) == learned(rows)
    assert same_weights(training, plain)
    assert max(row.cached_units for row in stored_rows) > 1


@pytest.mark.parametrize(
    ("augment", "views"), [("none", None), ("random", 1), ("random", 2), ("random", 3)]
)
@pytest.mark.parametrize("every", [1, 2])
def test_a_float32_store_changes_no_bit(run, augment, views, every):
    run = augmented(run, augment)
    plain, rows = train_all(method(run, views=views), STORE_NOTHING)
    storing = method(run, views=views, precompute=True, store="float32")
    training, stored_rows = train_all(storing, plan_of_all(storing, every))
    assert learned(stored_rows) == learned(rows)
    assert same_weights(training, plain)
    assert [row.frozen_units for row in stored_rows] == [row.frozen_units for row in rows]
    assert max(row.cached_units for row in stored_rows) > 1
    assert not any(row.cached_units or row.cache_bytes for row in rows)


@pytest.mark.parametrize(("dtype", "points"), [("float16", 5.0), ("bfloat16", 15.0)])
def test_rounded_stores_end_near_the_exact_error(run, dtype, points):
    """20 test images, so that one of them is 5 points: float16 may turn one, bfloat16 three."""
    run = augmented(run, "none")
    _, rows = train_all(method(run), STORE_NOTHING)
    storing = method(run, precompute=True, store=dtype)
    training, stored_rows = train_all(storing, plan_of_all(storing))
    assert training.activations.bytes > 0
    assert learned(stored_rows) != learned(rows), "nothing was rounded"
    assert abs(stored_rows[-1].test_error - rows[-1].test_error) <= points
    assert stored_rows[-1].train_loss == pytest.approx(rows[-1].train_loss, rel=0.02)


def test_units_that_freeze_within_an_epoch_are_not_stored_before_the_next(run):
    storing = method(augmented(run, "none"), precompute=True, store="float32")
    _, rows = train_all(storing, plan_of_all(storing))
    steps = freeze_steps_of(storing)
    for row in rows:
        first = (row.epoch - 1) * storing.steps_per_epoch
        assert row.cached_units == sum(step <= first for step in steps)
    assert any(row.cached_units < row.frozen_units for row in rows)


def test_views_begin_with_the_first_epoch_that_starts_with_a_frozen_unit(run, monkeypatch):
    drawn = []
    draw = split.Split.draw_view

    def watched(images, seed, number, purpose="augmentation"):
        drawn.append((number, purpose))
        return draw(images, seed, number, purpose)

    training = Training(method(run, views=3), loaded(run), CPU)
    first = next(epoch for epoch in range(8) if training.scheduler.freeze_steps[0] <= epoch * 5)
    monkeypatch.setattr(split.Split, "draw_view", watched)
    list(train(training, Unseen()))
    assert 0 < first < 6
    fresh = [(epoch, "augmentation") for epoch in range(first)]
    assert drawn == fresh + [(epoch % 3, "view") for epoch in range(first, 8)]


def test_more_views_than_epochs_left_and_a_share_of_them(run):
    """Each view comes once, so the plan builds none; built by hand, none is built from another."""
    found = frozen_epochs_of(method(run, views=50))
    free = Place("host memory", AMPLE, 1e30, 1e30)
    costs = ForwardCosts(1.0, (1.0,) * 20, (0, *[1] * 20))
    assert best_plan(found, IMAGES, costs, [free], 50).seconds_saved < 1e-9
    storing = method(run, views=50, precompute=True, store="float32", epoch_share=0.9)
    plain, rows = train_all(method(run, views=50, epoch_share=0.9), STORE_NOTHING)
    training, stored_rows = train_all(storing, plan_of_all(storing))
    assert learned(stored_rows) == learned(rows)
    assert same_weights(training, plain)
    built = [row.cached_units for row in stored_rows if row.cached_units]
    assert len(built) == len(training.activations.plan.builds) > 2


def test_nothing_frozen_before_the_last_epoch_means_no_store_and_fresh_images(run):
    late = {"t0": 0.95, "scaling": "linear"}
    storing = method(run, views=2, precompute=True, **late)
    assert not frozen_epochs_of(storing)
    _, rows = train_all(method(run, **late), STORE_NOTHING)
    _, stored_rows = train_all(storing, STORE_NOTHING)
    assert learned(stored_rows) == learned(rows)


def test_batches_larger_than_the_data_compute_no_image_twice(run, monkeypatch):
    """All images are one chunk then, in which a store changes no bit either."""
    large = replace(run, train=run.train.replace(batch_size=1000))
    plain = method(augmented(large, "none"), t0=0.3)
    storing = method(augmented(large, "none"), t0=0.3, precompute=True, store="float32")
    chunks, real = set(), frozen_prefix.forward

    def watched(units, x):
        chunks.add(len(x))
        return real(units, x)

    monkeypatch.setattr(frozen_prefix, "forward", watched)
    _, rows = train_all(plain, STORE_NOTHING)
    training, stored = train_all(storing, plan_of_all(storing))
    assert learned(stored) == learned(rows)
    assert training.activations.bytes > 0
    assert chunks == {IMAGES}


def test_reading_a_store_to_build_another_counts_as_building(run, monkeypatch):
    storing = method(augmented(run, "none"), precompute=True)
    plan = plan_of_all(storing)
    training = Training(storing, loaded(run), CPU, plan)
    training.network.eval()
    (first, cut), (second, further) = plan.builds[:2]
    training.activations.start(first)
    training.activations.inputs(first_images(), cut)
    training.activations.end()
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda *each: (time.sleep(0.1), read(*each))[1])
    training.activations.start(second)
    training.activations.inputs(first_images(), further)
    training.activations.end()
    # Five chunks are read to build, one batch to train on.
    assert training.activations.build_seconds[1] >= 0.5
    assert 0.1 <= training.activations.read_seconds[1] < 0.5


def test_the_seconds_of_stores_lie_within_those_of_their_epochs(run):
    storing = method(augmented(run, "none"), precompute=True)
    training, rows = train_all(storing, plan_of_all(storing))
    summary = training.activations.summary()
    assert len(summary["build_seconds"]) == len(summary["read_seconds"]) == len(rows) == 8
    for row, building, reading in zip(
        rows, summary["build_seconds"], summary["read_seconds"], strict=True
    ):
        assert 0 <= building + reading < row.train_seconds
        assert (reading > 0) == (row.cached_units > 0)


def inputs_of(training: Training, indices: Indices, frozen: int) -> torch.Tensor:
    """The inputs of unit `frozen`."""
    values, prefix = training.activations.inputs(indices, frozen)
    return prefix.forward(list(training.network), values)[: len(indices)]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_cuda_a_store_in_any_place_gives_the_inputs_it_would_compute(tiny, place, dtype):
    """Within what cuDNN's choice of algorithms and the store's rounding change."""
    run = small_run(tiny, "densenet")
    cuda = torch.device("cuda")
    storing = method(augmented(run, "none"), precompute=True, store=dtype)
    read = split.load(DATASET, storing.data_used, "none", cuda)
    plan = replace(plan_of_all(storing), place=place)
    stored, computed = (Training(storing, read, cuda, each) for each in (plan, STORE_NOTHING))
    computed.load_state_dict(
        stored.state_dict() | {"activations": computed.activations.state_dict()}
    )
    for training in (stored, computed):
        training.network.eval()
        training.activations.start(plan.builds[0][0])
    cut = plan.builds[0][1]
    indices = Indices.of(torch.randperm(IMAGES)[:10], cuda)
    kept, exact = (inputs_of(each, indices, cut) for each in (stored, computed))
    assert stored.activations.cut == cut
    assert kept.device.type == "cuda"
    tolerance = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4}[dtype]
    assert torch.allclose(kept, exact, rtol=tolerance, atol=tolerance)


def test_forward_runs_units_in_order():
    units = [lambda x: x + 1, lambda x: 2 * x]
    assert forward(units, torch.tensor(3)) == 8
    assert forward([], torch.tensor(3)) == 3
