"""What a plan rests on is measured once, as it is paid for in training, and keeps no images."""

import gc
import json
import time
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch

from fobench.activations import plan_file, speed
from fobench.activations.places import PLACES, SAMPLE_BYTES
from fobench.activations.plan import Place
from fobench.activations.plan_file import measure_costs
from fobench.activations.speed import bytes_at_cuts, measure_place
from fobench.activations.staging import BUFFERS
from fobench.activations.store import Store
from fobench.costs.profile import KeptProfile
from fobench.costs.unit_costs import unit_costs_of
from fobench.experiment.run import Run
from tests.activations.small_runs import loaded, method, small_run
from tests.costs.test_run_time import profile as profile_of
from tests.training.cpu_graphs import CpuGraphs

ALLOCATING = 0.3  # seconds
BATCH = 10


@pytest.fixture
def run(tiny, monkeypatch) -> Run:
    monkeypatch.setattr(plan_file, "measured_costs", {})
    return method(small_run(tiny, "densenet"), views=2, precompute=True)


@pytest.fixture
def called(monkeypatch) -> list[str]:
    """The calls of stores, in order."""
    calls: list[str] = []

    def watch(name: str) -> None:
        real = getattr(Store, name)

        def act(*words):
            calls.append(name)
            return real(*words)

        monkeypatch.setattr(Store, name, act)

    for name in ("__init__", "write", "finish", "read"):
        watch(name)
    return calls


def largest_batch(run: Run) -> int:
    return BATCH * max(bytes_at_cuts(run, torch.float16))


def measured(run: Run, name: str) -> Place | None:
    network = run.model.build(10, (32, 32, 3)).eval()
    return measure_place(name, network, loaded(run).train, BATCH, torch.float16)


def test_the_images_are_gone_once_nobody_else_has_them(run, monkeypatch):
    """On a GPU they take memory that the next experiment's stores could have."""
    monkeypatch.setattr(plan_file, "forward_seconds", lambda *_: (1e-6, (1e-6,) * 7))
    data = loaded(run)
    images = weakref.ref(data.train.images)
    measure_costs(run, data.train)
    assert len(plan_file.measured_costs) == 1
    del data
    gc.collect()
    assert images() is None


def test_only_what_costs_depend_on_is_measured_anew(run, monkeypatch):
    split, measurements = loaded(run).train, []
    monkeypatch.setattr(
        plan_file, "forward_seconds", lambda *_: measurements.append(1) or (1e-6, (1e-6,) * 7)
    )
    costs = measure_costs(run, split)
    for same in (
        replace(run, seed=3, repeat=1),
        method(run, views=3, precompute=True, t0=0.7),
    ):
        assert measure_costs(same, split) is costs
    others = (
        replace(run, train=run.train.replace(batch_size=9)),
        replace(run, train=run.train.replace(precision="bfloat16")),
        replace(run, model=run.model.replace(growth_rate=5)),
        replace(run, data_used=replace(run.data_used, fingerprint="other images")),
        method(run, views=2, precompute=True, store="float32"),
    )
    for number, other in enumerate(others, start=2):
        measure_costs(other, split)
        assert len(measurements) == number, other


def test_untimed_runs_store_what_a_timed_one_would(run, monkeypatch, tmp_path):
    """By the forward seconds of its profile, though each has fewer threads; none is measured."""
    monkeypatch.setattr(plan_file, "forward_seconds", None)
    split, units = loaded(run).train, len(unit_costs_of(run))
    profile = replace(profile_of(*[1e-3] * units), pixels=0.5)
    kept = KeptProfile(profile, "profile.json", torch.get_num_threads() + 1)
    plan = plan_file.plan_of(run, tmp_path, split, kept)
    (path,) = tmp_path.glob("plan-*.json")
    costs = json.loads(path.read_text())["costs"]
    assert (costs["pixels"], costs["forward"]) == (0.5, [1.0] * units)
    assert plan.builds
    assert plan.seconds_saved > 1


@pytest.mark.parametrize("name", PLACES)
def test_allocating_counts_only_where_each_store_is_given_new_pages(run, monkeypatch, name):
    place = PLACES[name]

    def slowly(*words):
        time.sleep(ALLOCATING)
        return place.allocate(*words)

    monkeypatch.setitem(
        PLACES, name, replace(place, allocate=slowly, sample_bytes=largest_batch(run))
    )
    found = measured(run, name)
    assert (largest_batch(run) / found.write > ALLOCATING) == (name != "device memory")
    assert largest_batch(run) / found.read < ALLOCATING


@pytest.mark.parametrize("name", PLACES)
def test_a_store_is_written_to_its_end_before_it_is_read(run, monkeypatch, called, name):
    """Once: the first write is the one that counts."""
    monkeypatch.setitem(PLACES, name, replace(PLACES[name], sample_bytes=2 * largest_batch(run)))
    measured(run, name)
    reads = ["read", "read"]
    assert called == ["__init__", "write", "write", "finish", *reads, *reads], "once to warm up"


@pytest.mark.parametrize("name", PLACES)
def test_on_cuda_a_small_store_pays_for_what_only_the_first_one_does(run, called, name):
    """Each of the buffers between the host and the device is used once."""
    speed.warm_up(torch.randn(BATCH, 3, 4, 4), torch.float16, name, torch.device("cpu"))
    assert called == ["__init__", *["write"] * BUFFERS, "finish"]


@pytest.mark.parametrize(("batches", "most"), [(1, 1), (3, 3), (9, 4)])
def test_the_sample_is_of_full_batches_and_no_larger_than_the_real_store(
    run, monkeypatch, called, batches, most
):
    """45 images make four full batches."""
    sample = batches * largest_batch(run) + 1
    monkeypatch.setitem(PLACES, "host memory", replace(PLACES["host memory"], sample_bytes=sample))
    measured(run, "host memory")
    assert Counter(called)["write"] == most


def test_the_sample_in_device_memory_is_far_larger_than_a_cache():
    samples = {name: place.sample_bytes for name, place in PLACES.items()}
    assert samples.pop("device memory") >= 4 << 30
    assert set(samples.values()) == {SAMPLE_BYTES}


@pytest.mark.parametrize("step", ["eager", "graph"])
def test_units_are_measured_as_training_runs_them(run, monkeypatch, step):
    """In its precision, captured if its steps are."""
    seen = []

    def measure(units, split, batch_size, graphs):
        seen.append((graphs is not None, torch.is_autocast_enabled("cpu")))
        return 1e-6, (1e-6,) * 7

    monkeypatch.setattr(plan_file, "forward_seconds", measure)
    monkeypatch.setattr(plan_file, "Graphs", CpuGraphs)
    settings = run.train.replace(step=step, precision="bfloat16")
    plan_file.measure_costs_anew(replace(run, train=settings), loaded(run).train, torch.float16)
    assert seen == [(step == "graph", True)]
