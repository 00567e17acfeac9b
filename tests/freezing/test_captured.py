"""FreezeOut in a loop whose steps are captured and replayed, with the CPU's stand-in for graphs."""

import torch
from torch import nn

from fobench.freezing.freezeout import FreezeOut
from tests.training.cpu_graphs import CpuGraphs

STEPS = 30


def trained(captured: bool) -> list[torch.Tensor]:
    """The weights after a training that captures a step for each number of frozen units."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(4)), nn.Linear(4, 2)
    )
    batches, static = torch.randn(STEPS, 8, 4), torch.zeros(8, 4)
    groups = [{"params": unit.parameters()} for unit in network]
    optimizer = torch.optim.SGD(groups, lr=torch.tensor(0.1), momentum=0.9, fused=True)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.3, scaling="linear")
    graphs, replays = CpuGraphs(torch.device("cpu")), {}

    def step() -> None:
        optimizer.zero_grad()
        network(static).square().mean().backward()
        optimizer.step()

    for images in batches:
        freezeout.step()
        static.copy_(images)
        if not captured or freezeout.frozen not in replays:
            step()
            replays.setdefault(freezeout.frozen, None)
            continue
        if replays[freezeout.frozen] is None:
            replays[freezeout.frozen], _ = graphs.capture(step)
        replays[freezeout.frozen]()
    assert not captured or len([each for each in replays.values() if each]) > 3
    return [value.clone() for value in network.state_dict().values()]


def test_captured_steps_end_with_the_weights_of_ordinary_ones():
    """Rates are read where they lie, and what freezes takes no part in what is captured later."""
    for one, other in zip(trained(captured=True), trained(captured=False), strict=True):
        assert torch.equal(one, other)
