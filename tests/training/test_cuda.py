"""Training on a CUDA device: captured or not the same bits, and no step that waits for it."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from fobench.activations import places
from fobench.activations.inputs import Activations
from fobench.activations.plan import STORE_NOTHING, StorePlan
from fobench.activations.store import Store
from fobench.data import split
from fobench.experiment.options import TrainOptions
from fobench.experiment.run import Run
from fobench.freezing.freezeout import FreezeOut
from fobench.machine import graphs
from fobench.machine.device import prepare
from fobench.machine.graphs import Graphs, Repeated
from fobench.machine.memory import available_memory
from fobench.methods import BaselineOptions
from fobench.training import loop
from fobench.training.loop import train
from fobench.training.state import Training
from tests.activations.small_runs import (
    DATASET,
    Unseen,
    augmented,
    learned,
    method,
    plan_of_all,
    same_weights,
    small_run,
)

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")
SETTINGS = TrainOptions(epochs=1, batch_size=2)
NO_DISK = pytest.mark.skipif(not places.room_on_disk(), reason="the scratch folder has no room")
PLACES = ("device memory", "host memory", pytest.param("scratch file", marks=NO_DISK))
# Each network, and each place for stores.
FAMILIES_AND_PLACES = [
    ("densenet", "device memory"),
    ("densenet", "host memory"),
    pytest.param("densenet", "scratch file", marks=NO_DISK),
    ("wideresnet", "host memory"),
    ("vgg", "device memory"),
]


@pytest.fixture(autouse=True)
def captured_although_few_steps_follow(monkeypatch):
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)


def in_mode(run: Run, step: str, deterministic: bool = True, **options) -> Run:
    train_options = run.train.replace(step=step, deterministic=deterministic, **options)
    return replace(run, train=train_options)


def training_of(run: Run, plan: StorePlan = STORE_NOTHING) -> Training:
    return Training(run, split.load(DATASET, run.data_used, run.data.augment, CUDA), CUDA, plan)


def trained(run: Run, plan: StorePlan = STORE_NOTHING) -> tuple[Training, list[tuple]]:
    training = training_of(run, plan)
    return training, learned(list(train(training, Unseen())))


def require_equal_modes(run: Run, plan: StorePlan = STORE_NOTHING) -> Training:
    eager, rows = trained(in_mode(run, "eager"), plan)
    graph, graph_rows = trained(in_mode(run, "graph"), plan)
    assert graph_rows == rows
    assert same_weights(graph, eager)
    assert sum(graph.graphs.captures) > 0
    return graph


def test_a_captured_baseline_has_the_bits_of_an_eager_one(run):
    """Over a short batch and dropout."""
    graph = require_equal_modes(replace(run, method=BaselineOptions()))
    assert graph.graphs.captures == [1, 1, 0, 0, 0, 0, 0, 0]


def test_freezing_has_the_bits_of_eager_steps(run):
    assert require_equal_modes(method(run, t0=0.3)).scheduler.frozen > 0


def test_adamw_with_warm_up_and_clipping_has_the_bits_of_eager_steps(tiny, monkeypatch):
    """And waits for the device no more than SGD."""
    options = {"optimizer": "adamw", "lr": 1e-2, "decay_on": "matrices", "label_smoothing": 0.1}
    options |= {"warmup_epochs": 1.3, "clip_grad_norm": 0.5}
    run = in_mode(method(small_run(tiny, "wideresnet"), t0=0.3), "eager", **options)
    require_equal_modes(run)
    train_whole_epoch = loop.train_epoch

    def watched(*args):
        with waiting_is_an_error():
            return train_whole_epoch(*args)

    monkeypatch.setattr(loop, "train_epoch", watched)
    eager = in_mode(run, "eager", deterministic=False)
    assert trained(eager)[0].scheduler.frozen > 0


@pytest.mark.parametrize(("family", "place"), FAMILIES_AND_PLACES)
def test_stores_have_the_bits_of_eager_steps(tiny, family, place):
    run = small_run(tiny, family)
    storing = method(augmented(run, "random"), views=2, precompute=True, store="float16")
    graph = require_equal_modes(storing, replace(plan_of_all(storing, every=2), place=place))
    assert graph.activations.bytes > 0
    assert not graph.activations.notes


@pytest.mark.parametrize(("family", "place"), FAMILIES_AND_PLACES)
@pytest.mark.parametrize("step", ["eager", "graph"])
def test_a_float32_store_changes_no_bit_of_a_deterministic_run(tiny, family, place, step):
    run = in_mode(augmented(small_run(tiny, family), "random"), step)
    plain, rows = trained(method(run, views=2))
    storing = method(run, views=2, precompute=True, store="float32")
    training, stored_rows = trained(storing, replace(plan_of_all(storing), place=place))
    assert stored_rows == rows
    assert same_weights(training, plain)


def test_a_resumed_run_captures_anew_and_ends_with_the_same_bits(run):
    run = in_mode(method(run, t0=0.3), "graph")
    whole, rows, states = training_of(run), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    for epochs in (1, 5):
        states[epochs - 1].seek(0)
        resumed = training_of(run)
        resumed.load_state_dict(
            torch.load(states[epochs - 1], map_location="cpu", weights_only=True)
        )
        rates = [group["lr"] for group in resumed.optimizer.param_groups]
        assert {rate.device.type for rate in rates} == {"cuda"}
        assert learned(list(train(resumed, Unseen()))) == learned(rows[epochs:])
        assert same_weights(resumed, whole)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_every_precision_trains(run, precision):
    """Algorithms chosen by their speed, as is usual."""
    run = in_mode(method(run, t0=0.3), "graph", deterministic=False, precision=precision)
    training, rows = trained(run)
    assert {each.dtype for each in training.network.parameters()} == {torch.float32}
    assert all(loss == pytest.approx(2.3, abs=1.5) for loss, *_ in rows)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("family", "place"), FAMILIES_AND_PLACES)
@pytest.mark.parametrize("step", ["eager", "graph"])
def test_no_training_step_waits_for_the_device(tiny, family, place, step, monkeypatch):
    """Nor what comes before the first and after the last, but for the seconds that are read."""
    storing = method(
        augmented(small_run(tiny, family), "random"), views=2, precompute=True, store="float32"
    )
    storing = in_mode(storing, step, deterministic=False)
    train_whole_epoch, read_seconds = loop.train_epoch, Activations.end

    def watched(*args):
        with waiting_is_an_error():
            return train_whole_epoch(*args)

    def may_wait(activations):
        torch.cuda.set_sync_debug_mode("default")
        read_seconds(activations)

    monkeypatch.setattr(loop, "train_epoch", watched)
    monkeypatch.setattr(Activations, "end", may_wait)
    training, _ = trained(storing, replace(plan_of_all(storing), place=place))
    assert training.activations.bytes > 0
    with pytest.raises(RuntimeError), waiting_is_an_error():
        float(torch.ones(1, device=CUDA))


def test_work_is_run_then_captured_then_replayed():
    prepare(CUDA, SETTINGS)
    total = torch.zeros((), device=CUDA)

    def work(values: torch.Tensor) -> torch.Tensor:
        total.add_(values.sum())
        return values * 2

    repeated = Repeated(work, Graphs(CUDA))
    for number in range(1, 6):
        doubled = repeated(torch.full((3,), float(number), device=CUDA), calls_left=9)
        assert torch.equal(doubled.cpu(), torch.full((3,), 2.0 * number))
        assert float(total) == 3 * sum(range(1, number + 1)), "no step is lost or doubled"
        assert repeated.is_captured == (number > 1)


def test_a_step_that_cannot_be_captured_is_the_users_to_mend():
    """In a process of its own, which can capture nothing afterwards."""
    code = (
        "import torch\n"
        "from fobench.errors import UserError\n"
        "from fobench.experiment.options import TrainOptions\n"
        "from fobench.machine.device import prepare\n"
        "from fobench.machine.graphs import Graphs\n"
        "device = torch.device('cuda')\n"
        "prepare(device, TrainOptions(epochs=1, batch_size=2))\n"
        "values = torch.ones(2, device=device)\n"
        "try:\n"
        "    Graphs(device).capture(lambda: values * float(values.sum()))\n"
        "except UserError as error:\n"
        "    print(error, flush=True)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'set train.step = "eager"' in told.stdout, told.stderr


def test_graphs_that_are_dropped_leave_a_pool_that_can_be_used_again():
    prepare(CUDA, SETTINGS)
    made, values = Graphs(CUDA), torch.ones(2, device=CUDA)
    for factor in range(1, 4):
        replay, result = made.capture(lambda factor=factor: values * factor)
        replay()
        assert result.tolist() == [factor, factor]
        del replay, result


@pytest.mark.parametrize("place", PLACES)
def test_a_store_of_more_elements_than_an_int32_counts_is_read_at_its_last_row(place, monkeypatch):
    row = (64, 32, 32)
    count = 2**31 // (64 * 32 * 32) + 8
    size = 2 * count * 64 * 32 * 32
    monkeypatch.setattr(places, "room_in_memory", lambda device: 2 * size)
    free = {
        "device memory": lambda: available_memory(CUDA)[0],
        "host memory": lambda: available_memory(torch.device("cpu"))[0],
        "scratch file": places.room_on_disk,
    }
    if free[place]() < 2 * size:
        pytest.skip(f"needs {2 * size:,} bytes in the {place}")
    values = torch.randn(8, *row, device=CUDA).to(memory_format=torch.channels_last)
    store = Store(count, values, torch.float16, place, CUDA)
    store.write(0, -values)
    store.write(count - 8, values)
    store.finish()
    last = torch.arange(count - 8, count, device=CUDA if store.is_on_device else "cpu")
    assert torch.equal(store.read(last), values.half().float())


def test_a_run_from_the_command_line_records_captures_and_card(fobench, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("t0 = [0.3, 1.0]", "t0 = 0.3\nprecompute = true"))
    words = ("run", tiny, "--device", "cuda", "--set", "data.augment=none")
    assert fobench(*words).exit_code == 0
    for path in tmp_path.glob("results/tiny/*/run.json"):
        record = json.loads(path.read_text())
        environment = record["environment"]
        assert environment["step"] == "graph"
        assert environment["precision"] == "float32"
        assert environment["cudnn_benchmark"] is True
        assert environment["driver"]
        assert len(environment["gpu_uuid"]) == 8
        epochs = -(-record["total_steps"] // record["steps_per_epoch"])
        assert len(record["graphs"]["captures"]) == epochs
        assert len(record["graphs"]["capture_seconds"]) == epochs


def test_freezeout_follows_a_loop_whose_step_is_a_cuda_graph():
    """Rates that are tensors on the device are set there, where the captured update reads them."""
    prepare(CUDA, SETTINGS)
    torch.manual_seed(0)
    network = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3))).to(CUDA)
    groups = [{"params": unit.parameters()} for unit in network]
    rate = torch.tensor(0.1, device=CUDA)
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, fused=True)
    freezeout = FreezeOut(network, optimizer, total_steps=40, t0=1.0)
    images = torch.randn(8, 4, device=CUDA)

    def work() -> None:
        optimizer.zero_grad(set_to_none=True)
        network(images).square().mean().backward()
        optimizer.step()

    freezeout.step()
    work()
    replay, _ = Graphs(CUDA).capture(work)
    changes = []
    for _ in range(39):
        freezeout.step()
        before = network[0].weight.detach().clone()
        replay()
        changes.append(float((network[0].weight.detach() - before).abs().max()))
    assert changes[-1] < 0.01 * changes[0], "the rate was fixed when the step was captured"
