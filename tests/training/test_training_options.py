"""AdamW, decay of matrices, warm-up, clipping and label smoothing, alone and with every method."""

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from fobench.costs.flops import freeze_steps_of
from fobench.experiment.run import Run
from fobench.machine import graphs
from fobench.machine.seeds import generator, seed_globally
from fobench.methods import BaselineOptions, EnsembleOptions, FreezeOutOptions, SnapshotOptions
from fobench.models import FAMILIES
from fobench.training import optimizer as optimizers
from fobench.training import state
from fobench.training.loop import evaluate, train, train_step
from fobench.training.optimizer import MOMENTS, build_optimizer, is_matrix, load_state
from fobench.training.profiling import Stepper
from fobench.training.state import Training, build_network
from tests.activations.small_runs import (
    CPU,
    Unseen,
    first_images,
    learned,
    loaded,
    same_weights,
    small_run,
)
from tests.networks import EXAMPLES
from tests.training.cpu_graphs import CpuGraphs

ADAMW = {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.1, "decay_on": "matrices"}
# 7 steps of warm-up, in the second of 8 epochs of 5 steps; norms are well above that at first.
EVERYTHING = ADAMW | {"warmup_epochs": 1.3, "clip_grad_norm": 0.5, "label_smoothing": 0.1}
WARMUP = 7
METHODS = {
    "baseline": BaselineOptions(),
    "constant": BaselineOptions(annealing="constant"),
    "freezeout": FreezeOutOptions(scaling="linear", t0=0.3),
    "published": FreezeOutOptions(scaling="linear", t0=0.3, compat="reference"),
    "snapshot": SnapshotOptions(cycles=4, lr=0.02),
    "freezing snapshot": SnapshotOptions(cycles=4, lr=0.02, scaling="linear", t0=0.3),
    "ensemble": EnsembleOptions(members=2),
}
FREEZING = ("freezeout", "freezing snapshot")


@pytest.fixture
def residual(tiny) -> Run:
    run = small_run(tiny, "wideresnet")
    return replace(run, train=run.train.replace(**EVERYTHING))


def of_method(run: Run, name: str) -> Run:
    """The published code keeps rates constant for VGG alone."""
    if name == "published":
        run = replace(run, model=FAMILIES["vgg"](**EXAMPLES["vgg"]))
    return replace(run, method=METHODS[name])


def test_an_epoch_is_that_of_a_loop_written_by_hand(residual):
    """Bit for bit, with none of our parts but the data, the weights and the seeds."""
    training = Training(residual, loaded(residual), CPU)
    row = next(train(training, Unseen()))
    network = build_network(residual).to(memory_format=torch.channels_last)
    decayed = [each for each in network.parameters() if each.ndim > 1]
    others = [each for each in network.parameters() if each.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    )
    view = training.data.train.draw_view(0, 0)
    order = torch.randperm(45, generator=generator(0, 0, "order"))
    seed_globally(0, 0, "dropout")
    losses, norms = [], []
    for step, start in enumerate(range(0, 45, 10)):
        for group in optimizer.param_groups:
            annealed = 0.5 * 1e-2 * (1 + math.cos(math.pi * (step / 40)))
            group["lr"] = annealed * ((step + 1) / WARMUP)
        images, labels = training.data.train.batch(order[start : start + 10], view)
        loss = cross_entropy(network(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)))
        optimizer.step()
        losses.append(loss.item() * len(labels))
    assert max(norms) > 0.5, "nothing was clipped"
    assert row.train_loss == pytest.approx(sum(losses) / 45)
    trained = training.network.state_dict()
    assert all(torch.equal(trained[key], each) for key, each in network.state_dict().items())


def test_evaluation_is_without_smoothing(residual):
    plain = replace(residual, train=residual.train.replace(label_smoothing=0.0))
    found = [Training(run, loaded(run), CPU) for run in (residual, plain)]
    tested = [evaluate(each.network, each.data.test, 10) for each in found]
    assert tested[0] == tested[1]
    losses = [next(train(each, Unseen())).train_loss for each in found]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("name", METHODS)
def test_every_group_follows_its_unit_and_frozen_units_are_left_alone(residual, name):
    """Two groups for each unit: rates, weights and memory, at each step of a run."""
    run = of_method(residual, name)
    training = Training(run, loaded(run), CPU)
    units, info = list(training.network), run.info(len(training.network))
    unit_of = {id(each): number for number, unit in enumerate(units) for each in unit.parameters()}
    groups = [unit_of[id(group["params"][0])] for group in training.optimizer.param_groups]
    assert len(groups) > len(units)
    freeze_steps, restart = freeze_steps_of(run), 20 if name == "ensemble" else 40
    for step in range(run.total_steps):
        if step % 5 == 0:
            training.start_epoch(step // 5)
        training.prepare_step(step)
        frozen = training.scheduler.frozen
        assert frozen == sum(each <= step for each in freeze_steps)
        expected = run.method.learning_rates(step, info, 1e-2)
        factor = min(1, (step % restart + 1) / WARMUP)
        for unit, group in zip(groups, training.optimizer.param_groups, strict=True):
            rate = 0.0 if unit < frozen else expected[unit] * factor
            assert group["lr"] == pytest.approx(rate, abs=1e-15), (step, unit)
        before = copy.deepcopy([unit.state_dict() for unit in units[:frozen]])
        train_step(training, step, first_images(), frozen, training.take_step)
        after = [unit.state_dict() for unit in units[:frozen]]
        torch.testing.assert_close(after, before, rtol=0, atol=0)
        held = {unit_of[id(each)] for each in training.optimizer.state}
        assert held == set(range(frozen, len(units)))
        if step % 5 == 4:
            training.end_epoch(5)
    assert (frozen > 0) == (name in FREEZING)


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_groups_does_not_matter(residual, name):
    """The last unit's first; and a group of what no unit holds trains on."""
    run = of_method(residual, name)
    network = build_network(run)
    groups = [
        {"params": [each for each in unit.parameters() if is_matrix(each) == chosen], "lr": 1e-2}
        for unit in reversed(network)
        for chosen in (True, False)
    ]
    unit_of = [unit for unit in reversed(range(len(network))) for _ in range(2)]
    groups, unit_of = zip(
        *[each for each in zip(groups, unit_of, strict=True) if each[0]["params"]], strict=True
    )
    outside = {"params": [torch.nn.Parameter(torch.zeros(3))], "lr": 1e-2}
    optimizer = torch.optim.AdamW([*groups, outside])
    for group in optimizer.param_groups:
        group["initial_lr"] = 1e-2
    info = run.info(len(network))
    scheduler = run.method.start(network, optimizer, info)
    for step in range(run.total_steps):
        scheduler.step()
        expected = run.method.learning_rates(step, info, 1e-2)
        for unit, group in zip(unit_of, optimizer.param_groups, strict=False):
            rate = 0.0 if unit < scheduler.frozen else expected[unit]
            assert group["lr"] == pytest.approx(rate, abs=1e-15), (step, unit)
        assert optimizer.param_groups[-1]["lr"] > 0


@pytest.mark.parametrize("name", [*FREEZING, "ensemble"])
def test_a_resumed_run_ends_with_the_same_bits(residual, name):
    """Whether it stopped in the warm-up, before a freeze or behind one."""
    run = of_method(residual, name)
    whole, rows, states = Training(run, loaded(run), CPU), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    assert (whole.scheduler.frozen > 0) == (name in FREEZING)
    for epochs in (1, 4, 7):
        states[epochs - 1].seek(0)
        resumed = Training(run, loaded(run), CPU)
        resumed.load_state_dict(torch.load(states[epochs - 1], weights_only=True))
        assert learned(list(train(resumed, Unseen()))) == learned(rows[epochs:])
        assert same_weights(resumed, whole)


def test_a_member_that_starts_anew_has_no_moments_and_has_taken_no_steps(residual):
    """It is trained as a first one from its weights."""
    run = of_method(residual, "ensemble")
    training = Training(run, loaded(run), CPU)
    rows = train(training, Unseen())
    for _ in range(4):
        next(rows)
    assert {int(each["step"]) for each in training.optimizer.state.values()} == {20}
    training.start_member()
    for kept in training.optimizer.state.values():
        assert sorted(kept) == ["exp_avg", "exp_avg_sq", "step"]
        assert not any(each.any() for each in kept.values())


@pytest.fixture
def fused(monkeypatch):
    """Graphs and fused updates on the CPU, captured although few steps follow."""
    monkeypatch.setattr(state, "Graphs", CpuGraphs)
    monkeypatch.setattr(optimizers, "FUSED", {"cpu"})
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("name", [*FREEZING, "ensemble"])
def test_captured_steps_have_the_same_bits(residual, name):
    """Rates are then tensors, which the warm-up scales where the captured update reads them."""
    ended = []
    for mode in ("eager", "graph"):
        run = of_method(residual, name)
        run = replace(run, train=run.train.replace(step=mode))
        training = Training(run, loaded(run), CPU)
        ended.append((training, list(train(training, Unseen()))))
    (eager, rows), (graph, graph_rows) = ended
    assert learned(graph_rows) == learned(rows)
    assert same_weights(graph, eager)
    assert sum(graph.graphs.captures) > 0


@pytest.mark.usefixtures("fused")
def test_rates_that_are_tensors_warm_up_in_place(residual):
    training = Training(residual, loaded(residual), CPU)
    rates = [group["lr"] for group in training.optimizer.param_groups]
    expected = residual.method.learning_rates(1, residual.info(2), 1e-2)[0] * 2 / WARMUP
    for step in range(2):
        training.prepare_step(step)
    for group, rate in zip(training.optimizer.param_groups, rates, strict=True):
        assert group["lr"] is rate
        assert float(rate) == pytest.approx(expected)


@pytest.mark.parametrize("chosen", [{}, ADAMW])
def test_a_state_is_loaded_for_the_device_that_it_is_loaded_on(residual, monkeypatch, chosen):
    """One saved where updates are not fused must not switch fusing and capturing off."""
    options = type(residual.train)(epochs=1, batch_size=10, **chosen)
    network = build_network(residual)
    saved = stepped(build_optimizer(network, options), network).state_dict()
    monkeypatch.setattr(optimizers, "FUSED", {"cpu"})
    optimizer = build_optimizer(network, options)
    load_state(optimizer, saved, CPU)
    for group in optimizer.param_groups:
        assert group["fused"] is True
        assert group.get("capturable", True)
        assert isinstance(group["lr"], torch.Tensor)
    stepped(optimizer, network)


def stepped(optimizer, network):
    cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.zeros(4).long()).backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False},
        {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05},
    ],
)
def test_the_moments_that_predictions_count_are_those_that_are_kept(residual, options):
    train_options = type(residual.train)(epochs=1, batch_size=10, **options)
    network = build_network(residual)
    optimizer = stepped(build_optimizer(network, train_options), network)
    weights = sum(each.numel() for each in network.parameters())
    kept = sum(
        each.numel()
        for kept in optimizer.state.values()
        for each in kept.values()
        if torch.is_tensor(each) and each.ndim
    )
    assert kept == MOMENTS[train_options.optimizer](train_options) * weights


def test_weight_decay_is_on_all_parameters_or_on_matrices(run):
    for chosen in ("all", "matrices"):
        network = build_network(run)
        optimizer = build_optimizer(network, run.train.replace(decay_on=chosen))
        decayed = {
            id(each)
            for group in optimizer.param_groups
            for each in group["params"]
            if group["weight_decay"] > 0
        }
        expected = [each for each in network.parameters() if chosen == "all" or each.ndim > 1]
        assert decayed == {id(each) for each in expected}
        held = [id(each) for group in optimizer.param_groups for each in group["params"]]
        assert sorted(held) == sorted(id(each) for each in network.parameters())


@pytest.mark.parametrize(
    ("shape", "decays"),
    [
        ((10, 64), True),  # of a linear layer
        ((64, 3, 7, 7), True),
        ((64, 1, 3, 3), True),  # of a depthwise convolution
        ((64,), False),
        ((64, 1, 1), False),  # ConvNeXt's scale of a layer
        ((1, 1, 64), False),  # a class token
        ((1, 197, 64), False),  # position embeddings
        ((), False),
    ],
)
def test_kernels_are_matrices_and_tokens_are_not(shape, decays):
    assert is_matrix(torch.zeros(shape)) == decays


@pytest.mark.usefixtures("fused")
def test_the_profile_of_adamw_is_of_its_own_steps(residual):
    """Captured ones of any number of frozen units are those taken operation by operation."""
    ended = []
    for mode in ("eager", "graph"):
        run = replace(residual, train=residual.train.replace(step=mode))
        stepper = Stepper(run, loaded(run))
        if mode == "eager":
            for frozen in range(len(stepper)):
                stepper.visit(frozen, 1)
        before = copy.deepcopy(stepper.training.network.state_dict())
        for frozen in (0, 2, 1, 0):
            stepper.visit(frozen, 2)
        ended.append(stepper.training.network.state_dict())
        kernels = [key for key in before if before[key].ndim == 4]
        moved = max(float((ended[-1][key] - before[key]).abs().max()) for key in kernels)
        assert 0 < moved < 1e-5
    assert all(torch.equal(ended[0][key], ended[1][key]) for key in ended[0])
