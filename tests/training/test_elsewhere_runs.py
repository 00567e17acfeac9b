"""Runs of networks that are cut into units: as by a loop written out, stored, resumed, kept."""

import csv
import io
import json
import math
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy

from fobench.activations.plan import STORE_NOTHING
from fobench.experiment.run import Run
from fobench.machine.seeds import derive, generator
from fobench.methods import BaselineOptions, SnapshotOptions
from fobench.models import FileOptions, user_file
from fobench.training import checkpoint
from fobench.training.loop import train
from fobench.training.state import Training
from tests.activations.small_runs import (
    CPU,
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
from tests.models.user_files import SOURCE, write_networks

LIGHT = ("Net", "Tokens", "Dense")
NETWORKS = (*LIGHT, pytest.param("small_resnet", marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def _files_are_read_anew(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_file, "folders", [])


@pytest.fixture
def run(request, tiny, tmp_path) -> Run:
    """8 epochs of 5 steps, the last of 5 images, of the network that a test names."""
    name = f"{write_networks(tmp_path)}:{getattr(request, 'param', 'Net')}"
    return replace(small_run(tiny, "vgg"), model=FileOptions(name=name))


def plain_network(run: Run) -> torch.nn.Module:
    """The user's network itself, uncut, with the initial weights of the run."""
    torch.manual_seed(derive(run.seed, 0, "weights"))
    shape = run.data_used.image_shape
    network = run.model.network(run.data_used.classes, shape)
    return network.to(memory_format=torch.channels_last)


def trained_by_hand(run: Run) -> torch.nn.Module:
    """With torch's own SGD and cosine annealing, as a user would write it."""
    network, images = plain_network(run), loaded(run).train
    options = run.train
    optimizer = torch.optim.SGD(
        network.parameters(), lr=options.lr, momentum=options.momentum, nesterov=options.nesterov,
        weight_decay=options.weight_decay,
    )  # fmt: skip
    step = 0
    network.train()
    for epoch in range(run.epochs):
        torch.manual_seed(derive(run.seed, epoch, "dropout"))
        order = torch.randperm(len(images), generator=generator(run.seed, epoch, "order"))
        for batch in order.split(options.batch_size):
            rate = 0.5 * options.lr * (1 + math.cos(math.pi * step / run.total_steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            values, labels = images.batch(batch)
            optimizer.zero_grad()
            cross_entropy(network(values), labels).backward()
            optimizer.step()
            step += 1
    return network


def equal(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(state) == list(other) and all(torch.equal(state[key], other[key]) for key in state)


@pytest.mark.parametrize("run", NETWORKS, indirect=True)
def test_training_is_that_of_the_uncut_network_by_a_loop_written_out(run):
    run = augmented(replace(run, method=BaselineOptions()), "none")
    if "resnet" in run.model.name:
        run = replace(run, train=run.train.replace(epochs=2))
    training, rows = train_all(run, STORE_NOTHING)
    assert len(training.network) > 2
    assert len(rows) == run.epochs
    by_hand = trained_by_hand(run)
    assert equal(training.network.state_dict(), by_hand.state_dict())
    assert not equal(by_hand.state_dict(), plain_network(run).state_dict())


@pytest.mark.parametrize("run", LIGHT, indirect=True)
def test_frozen_units_stay_as_they_are_and_the_others_train(run):
    training = Training(method(augmented(run, "none")), loaded(run), CPU)
    frozen_at, states = [], []
    for row in train(training, Unseen()):
        frozen_at.append(row.frozen_units)
        units = [list(unit.parameters()) for unit in training.network]
        states.append([[each.detach().clone() for each in unit] for unit in units])
    assert frozen_at[-1] == len(training.network) - 1
    for epoch in range(len(states) - 1):
        for unit in range(frozen_at[epoch]):
            same = zip(states[epoch][unit], states[-1][unit], strict=True)
            assert all(torch.equal(*pair) for pair in same)
        one, other = states[epoch][-1], states[epoch + 1][-1]
        assert not all(torch.equal(*pair) for pair in zip(one, other, strict=True)), "the head"


@pytest.mark.parametrize("run", LIGHT, indirect=True)
@pytest.mark.parametrize(("augment", "views"), [("none", None), ("random", 2)])
def test_a_float32_store_changes_no_bit(run, augment, views):
    run = augmented(run, augment)
    plain, rows = train_all(method(run, views=views), STORE_NOTHING)
    storing = method(run, views=views, precompute=True, store="float32")
    training, stored_rows = train_all(storing, plan_of_all(storing))
    assert max(row.cache_bytes for row in stored_rows) > 0
    assert learned(stored_rows) == learned(rows)
    assert same_weights(training, plain)


@pytest.mark.parametrize("run", LIGHT, indirect=True)
def test_a_run_resumes_exactly_from_the_end_of_any_epoch(run):
    """Through freezes and stores."""
    storing = method(augmented(run, "random"), views=2, precompute=True, store="float16")
    whole, rows, states = Training(storing, loaded(storing), CPU, plan_of_all(storing)), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    assert len({row.frozen_units for row in rows}) > 2
    assert len({row.cached_units for row in rows}) > 2
    for epochs, state in enumerate(states, start=1):
        state.seek(0)
        resumed = Training(storing, loaded(storing), CPU)
        resumed.load_state_dict(torch.load(state, weights_only=True))
        assert resumed.activations.bytes == rows[epochs - 1].cache_bytes
        assert learned(list(train(resumed, Unseen()))) == learned(rows[epochs:])
        assert same_weights(resumed, whole)


@pytest.mark.parametrize("run", LIGHT, indirect=True)
def test_snapshots_share_what_was_frozen_and_have_the_networks_own_keys(run):
    chosen = SnapshotOptions(cycles=4, lr=0.1, scaling="linear", t0=0.2)
    training, _ = train_all(replace(run, method=chosen), STORE_NOTHING)
    members, frozen = training.snapshots.weights, training.snapshots.frozen
    assert len(members) == 4
    assert frozen[-1] == len(training.network) - 1
    plain = plain_network(run)
    keys = list(plain.state_dict())
    paths = {id(each): key for key, each in plain_like(training).items()}
    of_units = [
        {paths[id(each)] for each in (*unit.parameters(), *unit.buffers()) if id(each) in paths}
        for unit in training.network
    ]
    assert set().union(*of_units) == set(keys)
    for number, (member, before) in enumerate(zip(members[1:], members, strict=False), start=1):
        assert list(member) == keys
        shared = set().union(*of_units[: frozen[number]])
        assert {key for key in keys if member[key] is before[key]} == shared
        plain.load_state_dict(member)


def plain_like(training: Training) -> dict[str, torch.Tensor]:
    return training.network.original.state_dict(keep_vars=True)


CONFIG = """
[experiment]
name = "mine"
[data]
dataset = "synthetic"
train_size = 40
validation = 10
test_size = 20
image_size = 16
[model]
name = "./mynet.py:{name}"
[train]
epochs = 4
batch_size = 10
[[method]]
name = "baseline"
epoch_share = [1.0, 0.5]
[[method]]
name = "freezeout"
t0 = 0.5
[[method]]
name = "snapshot"
cycles = 2
keep_snapshots = true
"""


@pytest.mark.slow
def test_what_is_kept_loads_into_the_users_network_and_its_report_and_figures_name_it(
    fobench, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    Path("mine.toml").write_text(CONFIG.format(name="Net"))
    ran = fobench("run", "mine.toml", "--device", "cpu", "--keep-checkpoints")
    assert ran.exit_code == 0, ran.output
    name = "./mynet.py:Net"
    network = FileOptions(name=name).network(10, (16, 16, 3))
    folders = [path.parent for path in Path("results/mine").glob("*/run.json")]
    assert len(folders) == 4
    for folder in folders:
        record = json.loads((folder / "run.json").read_text())
        assert record["status"] == "finished"
        assert record["run"]["model"]["name"] == name
        assert record["run"]["model"]["title"] == "Net (mynet.py)"
        assert [unit["name"] for unit in record["units"]] == ["stem", "first", "second", "fc"]
        kept = torch.load(folder / checkpoint.LAST, weights_only=True)
        network.load_state_dict(kept["training"]["network"])
    (kept,) = Path("results/mine").glob("*/snapshots.pt")
    members = torch.load(kept, weights_only=True)["members"]
    assert len(members) == 2
    for member in members:
        network.load_state_dict(member)
    report = fobench("report", "results/mine")
    assert report.exit_code == 0, report.output
    assert "Net (mynet.py) on synthetic" in report.output
    page = fobench("report", "results/mine", "-o", "page.html")
    assert page.exit_code == 0, page.output
    assert "Net (mynet.py)" in Path("page.html").read_text()
    for kind in ("speedup-error", "curves", "schedule"):
        drawn = fobench("plot", "results/mine", "-o", f"{kind}.svg", "--kind", kind)
        assert drawn.exit_code == 0, drawn.output
        assert "Net (mynet.py)" in Path(f"{kind}.svg").read_text()
    with (folders[0] / "epochs.csv").open() as file:
        assert all(math.isfinite(float(row["train_loss"])) for row in csv.DictReader(file))


def test_a_torchvision_network_trains_by_its_name(fobench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = CONFIG.format(name="Net").replace("./mynet.py:Net", "torchvision:squeezenet1_1")
    Path("mine.toml").write_text(text.replace("image_size = 16", "image_size = 24"))
    words = ("--set", "train.epochs=2", "--only", "freezeout", "--device", "cpu")
    ran = fobench("run", "mine.toml", *words, "--set", "train.lr=0.001")
    assert ran.exit_code == 0, ran.output
    (record,) = Path("results/mine").glob("*/run.json")
    written = json.loads(record.read_text())
    assert written["run"]["model"]["title"] == "squeezenet1_1 (torchvision)"
    assert written["run"]["model"]["torchvision"]
    assert len(written["units"]) > 5


DRAWING = """
import random
import numpy


class Dropped(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        if self.training and random.random() < 0.5:
            return x
        return self.block(x) * (1 + 0.1 * float(numpy.random.rand()) * self.training)


class Drawing(Net):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.second = Dropped(self.second)
        self.fc.weight.data = torch.tensor(numpy.random.randn(num_classes, 4)).float()
"""


def test_a_network_that_draws_by_python_and_numpy_repeats_and_resumes_exactly(run, tmp_path):
    name = write_networks(tmp_path, "drawing.py", SOURCE + DRAWING)
    run = replace(run, model=FileOptions(name=f"{name}:Drawing"), method=BaselineOptions())
    whole, rows, states = Training(run, loaded(run), CPU), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    random.seed(99)
    numpy.random.seed(99)
    again, repeated = train_all(run, STORE_NOTHING)
    assert learned(repeated) == learned(rows)
    assert same_weights(again, whole)
    resumed = Training(run, loaded(run), CPU)
    states[3].seek(0)
    resumed.load_state_dict(torch.load(states[3], weights_only=True))
    assert learned(list(train(resumed, Unseen()))) == learned(rows[4:])
    assert same_weights(resumed, whole)
