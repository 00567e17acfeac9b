"""FreezeOut on real networks: what is frozen is entirely so, what is active trains as ever."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, AdamW, RMSprop

from fobench import models
from fobench.freezing.freezeout import FreezeOut
from tests.networks import EXAMPLES

STEPS = 20


def small_network() -> nn.Sequential:
    return built("densenet", **EXAMPLES["densenet"])


def network_with_dropout() -> nn.Sequential:
    """A user's own network: units of mixed content, one without parameters."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)),
        nn.AvgPool2d(2),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout2d(0.5)),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 10)),
    )


def built(name: str, **options) -> nn.Sequential:
    torch.manual_seed(0)
    return models.build(name, 10, **options)


NETWORKS = {
    **{name: partial(built, name, **options) for name, options in EXAMPLES.items()},
    "own": network_with_dropout,
}
OPTIMIZERS = {
    "sgd": lambda groups: SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adam": lambda groups: Adam(groups, lr=0.01, weight_decay=1e-2),
    "adamw": lambda groups: AdamW(groups, lr=0.01, weight_decay=1e-2),
    "rmsprop": lambda groups: RMSprop(groups, lr=0.01, momentum=0.9, weight_decay=1e-2),
}


def groups_of(network: nn.Sequential) -> list[dict]:
    return [{"params": unit.parameters()} for unit in network]


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(step)
    images = torch.randn(6, 3, 32, 32, generator=random)
    return images, torch.randint(0, 10, (6,), generator=random)


def train_step(network: nn.Sequential, optimizer, step: int) -> None:
    images, labels = batch(step)
    optimizer.zero_grad()
    cross_entropy(network(images), labels).backward()
    optimizer.step()


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("scale_lr", [False, True])
@pytest.mark.parametrize(("scaling", "power"), [("linear", 1), ("squared", 2), ("cubic", 3)])
@pytest.mark.parametrize("t0", [0.1, 0.5, 0.8, 1.0])
def test_rates_and_freezing_follow_the_formulas_over_a_whole_run(t0, scaling, power, scale_lr):
    network = small_network()
    optimizer = SGD(groups_of(network), lr=0.1)
    total, head = 200, len(network) - 1
    freezeout = FreezeOut(network, optimizer, total, t0, scaling, scale_lr)
    time = (t0 + (1 - t0) * np.arange(head + 1) / head) ** power
    for step in range(total):
        freezeout.step()
        active = step < np.ceil(np.round(time * total, 9))
        initial = 0.1 / time if scale_lr else 0.1 * np.ones_like(time)
        expected = 0.5 * initial * (1 + np.cos(np.pi * step / total / time)) * active
        rates = [group["lr"] for group in optimizer.param_groups]
        np.testing.assert_allclose(rates, expected, atol=1e-12)
        assert freezeout.frozen == (~active).sum()


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_frozen_unit_stays_bit_identical_while_its_successors_change(build, make):
    """Parameters and buffers, with momentum and weight decay, and network.train() every step."""
    network = build()
    optimizer = make(groups_of(network))
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    when_frozen: dict[int, dict] = {}
    for step in range(STEPS):
        network.train()
        freezeout.step()
        for index in range(freezeout.frozen):
            when_frozen.setdefault(index, state_of(network[index]))
        before_head = state_of(network[-1])
        train_step(network, optimizer, step)
        for index, state in when_frozen.items():
            assert same(state, state_of(network[index])), f"unit {index} moved at step {step}"
        assert not same(before_head, state_of(network[-1]))
    assert len(when_frozen) == len(network) - 1


def test_frozen_again_after_the_user_thaws_its_parameters():
    """The next step takes their gradients and momentum away, and they did not move meanwhile."""
    network = network_with_dropout()
    optimizer = OPTIMIZERS["sgd"](groups_of(network))
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    while freezeout.frozen == 0:
        freezeout.step()
    frozen = state_of(network[0])
    network.requires_grad_(True)
    train_step(network, optimizer, 0)
    assert same(frozen, state_of(network[0]))
    freezeout.step()
    for parameter in network[0].parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
        assert parameter not in optimizer.state
    assert network[-1].training


def test_gradients_and_momentum_of_a_frozen_unit_are_freed():
    network = small_network()
    optimizer = OPTIMIZERS["sgd"](groups_of(network))
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    for step in range(STEPS):
        freezeout.step()
        train_step(network, optimizer, step)
    for index, unit in enumerate(network):
        for parameter in unit.parameters():
            is_frozen = index < freezeout.frozen
            assert (parameter.grad is None) == is_frozen
            assert (parameter in optimizer.state) != is_frozen
    assert len(optimizer.param_groups) == len(network)


def test_gradients_of_active_units_equal_those_of_a_full_backward_pass():
    network = small_network()
    optimizer = SGD(groups_of(network), lr=0.1)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    while freezeout.frozen < 3:
        freezeout.step()
    full = copy.deepcopy(network).requires_grad_(True)
    images, labels = batch(0)
    cross_entropy(network(images), labels).backward()
    cross_entropy(full(images), labels).backward()
    for index, (unit, full_unit) in enumerate(zip(network, full, strict=True)):
        for parameter, full_parameter in zip(
            unit.parameters(), full_unit.parameters(), strict=True
        ):
            if index < freezeout.frozen:
                assert parameter.grad is None
                assert full_parameter.grad is not None
            else:
                assert torch.equal(parameter.grad, full_parameter.grad)


KERNELS = {
    nn.Conv2d: "aten::convolution_backward",
    nn.BatchNorm2d: "aten::native_batch_norm_backward",
    nn.ReLU: "aten::threshold_backward",
}


def backward_kernels(network: nn.Sequential) -> dict[type, int]:
    """How often the backward kernel of each kind of layer runs."""
    images, labels = batch(0)
    loss = cross_entropy(network(images), labels)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        loss.backward()
    counts = {event.key: event.count for event in profile.key_averages()}
    return {layer: counts.get(kernel, 0) for layer, kernel in KERNELS.items()}


def test_no_backward_kernel_of_a_frozen_unit_runs():
    """Backward kernels, counted by the profiler, are as many as the active units have layers, from
    the very step in which a unit freezes."""
    network = small_network()
    optimizer = SGD(groups_of(network), lr=0.1)
    freezeout = FreezeOut(network, optimizer, 40, t0=0.2, scaling="linear")
    seen = set()
    for _ in range(40):
        freezeout.step()
        if freezeout.frozen not in seen:
            seen.add(freezeout.frozen)
            active = network[freezeout.frozen :]
            layers = [type(module) for module in active.modules()]
            assert backward_kernels(network) == {layer: layers.count(layer) for layer in KERNELS}
    assert seen == set(range(len(network)))


def test_t0_of_one_never_freezes():
    network = small_network()
    freezeout = FreezeOut(network, SGD(groups_of(network), lr=0.1), STEPS, t0=1.0)
    for _ in range(STEPS):
        freezeout.step()
    assert freezeout.frozen == 0


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("stop", [0, 1, 5, STEPS])
def test_a_run_saved_and_loaded_resumes_bit_for_bit(make, stop):
    def start(network: nn.Sequential):
        optimizer = make(groups_of(network))
        return optimizer, FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")

    network = small_network()
    optimizer, freezeout = start(network)
    for step in range(stop):
        freezeout.step()
        train_step(network, optimizer, step)
    saved = copy.deepcopy((network.state_dict(), optimizer.state_dict(), freezeout.state_dict()))
    resumed = small_network()
    resumed_optimizer, resumed_freezeout = start(resumed)
    for target, state in zip((resumed, resumed_optimizer, resumed_freezeout), saved, strict=True):
        target.load_state_dict(state)
    assert resumed_freezeout.frozen == freezeout.frozen
    for step in range(stop, STEPS):
        for each in (freezeout, resumed_freezeout):
            each.step()
        train_step(network, optimizer, step)
        train_step(resumed, resumed_optimizer, step)
    assert same(state_of(network), state_of(resumed))


def test_a_state_that_would_thaw_a_unit_is_refused():
    network = small_network()
    freezeout = FreezeOut(network, SGD(groups_of(network), lr=0.1), STEPS, t0=0.2)
    early = freezeout.state_dict()
    for _ in range(STEPS):
        freezeout.step()
    with pytest.raises(ValueError, match="does not thaw"):
        freezeout.load_state_dict(early)


def test_a_state_of_another_schedule_is_refused():
    network = small_network()
    one = FreezeOut(network, SGD(groups_of(network), lr=0.1), 10)
    other = FreezeOut(network, SGD(groups_of(network), lr=0.1), 20)
    with pytest.raises(ValueError, match="another schedule"):
        other.load_state_dict(one.state_dict())


def test_mistakes_are_reported():
    network = small_network()
    one_group = SGD(network.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="group 0 holds parameters of unit 0 and unit 1 and unit"):
        FreezeOut(network, one_group, 10)
    with pytest.raises(ValueError, match="total_steps"):
        FreezeOut(network, SGD(groups_of(network), lr=0.1), 0)
    with pytest.raises(ValueError, match="total_steps"):
        FreezeOut(network, SGD(groups_of(network), lr=0.1), 2.5)
    freezeout = FreezeOut(network, SGD(groups_of(network), lr=0.1), 1)
    freezeout.step()
    with pytest.raises(ValueError, match="more often than total_steps = 1"):
        freezeout.step()


def test_a_gradient_left_by_a_parameter_that_requires_none_is_freed_too():
    """An optimizer would go on updating by it."""
    network = small_network()
    optimizer = OPTIMIZERS["sgd"](groups_of(network))
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    freezeout.step()
    train_step(network, optimizer, 0)
    network[0].requires_grad_(False)
    while not freezeout.frozen:
        freezeout.step()
    assert all(parameter.grad is None for parameter in network[0].parameters())
