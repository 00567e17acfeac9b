"""FreezeOut under torch.compile: recompilation at freezes, and results as without."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim import SGD

from fobench import FreezeOut
from fobench.freezing.recompilation import warn_if_compilation_will_end

STEPS = 30
FREEZES = 10


def deep_network() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()) for _ in range(FREEZES)]
    return nn.Sequential(*blocks, nn.Linear(6, 3))


@pytest.fixture(autouse=True)
def _fresh_compiler():
    """Each test compiles from scratch, with torch's default limit."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=8):
        yield
    torch._dynamo.reset()


def train(network: nn.Module, freezeout: FreezeOut, thaw_every_step: bool = False) -> None:
    for step in range(STEPS):
        freezeout.step()
        if thaw_every_step:
            network.train()
        images = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        images = images.to(next(network.parameters()).dtype)
        freezeout.optimizer.zero_grad()
        network(images).square().mean().backward()
        freezeout.optimizer.step()


def freezeout_of(units) -> FreezeOut:
    optimizer = SGD([{"params": unit.parameters()} for unit in units], lr=0.1, momentum=0.9)
    return FreezeOut(units, optimizer, STEPS, t0=0.1, scaling="linear")


def test_compiled_units_serve_each_other_so_that_freezing_recompiles_once_or_twice():
    plain = deep_network()
    network = copy.deepcopy(plain)
    compiled = CompileCounter()
    for unit in network:
        unit.compile(backend=compiled)
    with warnings.catch_warnings(action="error"):
        freezeout = freezeout_of(network)
    train(network, freezeout, thaw_every_step=True)
    assert freezeout.frozen == FREEZES
    assert compiled.frame_count < 8, "at its limit torch stops compiling"
    train(plain, freezeout_of(plain))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])


@pytest.mark.parametrize("in_place", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_network_compiled_as_a_whole_warns_that_torch_will_stop_compiling(in_place):
    network, compiled = deep_network(), CompileCounter()
    if in_place:
        network.compile(backend=compiled)
        whole = network
    else:
        whole = torch.compile(network, backend=compiled)
    optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.1)
    message = (
        r"anew at each of 10 freezes, but only 8 times in all.*compile each unit instead.* to 22$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        freezeout = FreezeOut(whole, optimizer, STEPS, t0=0.1, scaling="linear")
    assert caught[0].filename == __file__, "the warning points at the user's line"
    train(whole, freezeout)
    assert compiled.frame_count == 8, "this is what the warning is about"


def test_a_wrapped_compiled_network_warns_too():
    with pytest.warns(UserWarning, match="compile each unit instead"):
        warn_if_compilation_will_end(
            nn.DataParallel(torch.compile(deep_network())), range(1, FREEZES + 1), STEPS
        )


class SetsFlags(nn.Sequential):
    """A network whose `train()` assigns to `training`."""

    def train(self, mode: bool = True) -> nn.Module:
        for module in self.modules():
            module.training = mode
        return self


@pytest.mark.parametrize("whole", [False, True])
def test_compiled_code_never_meets_another_mode(whole):
    network = SetsFlags(*deep_network()[:3], nn.Linear(6, 3))
    freezeout = freezeout_of(network)
    if whole:
        network.compile(backend="eager")
    else:
        for unit in network:
            unit.compile(backend="eager")
    states: dict[int, dict] = {}
    for _ in range(STEPS):
        freezeout.step()
        for index in range(freezeout.frozen):
            states.setdefault(index, copy.deepcopy(network[index].state_dict()))
        network.train()
        freezeout.optimizer.zero_grad()
        network(torch.randn(8, 6)).square().mean().backward()
        freezeout.optimizer.step()
        for index, state in states.items():
            now = network[index].state_dict()
            assert all(torch.equal(each, now[name]) for name, each in state.items())
    assert len(states) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit", [FREEZES + 1, pytest.param(2 * (FREEZES + 1), marks=pytest.mark.slow)]
)
def test_with_the_limit_that_the_warning_asks_for_torch_goes_on_compiling(limit):
    """Once per freeze and once at the start; twice as often leaves room for evaluation."""
    torch._dynamo.config.recompile_limit = limit
    network, compiled = deep_network(), CompileCounter()
    whole = torch.compile(network, backend=compiled)
    optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.1)
    with warnings.catch_warnings(action="error"):
        freezeout = FreezeOut(whole, optimizer, STEPS, t0=0.1, scaling="linear")
    train(whole, freezeout, thaw_every_step=True)
    assert compiled.frame_count == FREEZES + 1


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_the_default_compiler_computes_what_eager_does(whole):
    """With torch's own backend, which needs a C++ compiler; doubles, as rounding differs."""
    plain = deep_network().double()
    network = copy.deepcopy(plain)
    if whole:
        network.compile()
    else:
        for unit in network:
            unit.compile()
    with warnings.catch_warnings(action="ignore"):
        train(network, freezeout_of(network), thaw_every_step=True)
    train(plain, freezeout_of(plain))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])
