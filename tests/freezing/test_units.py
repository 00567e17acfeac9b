"""What FreezeOut takes as units, parameter groups and numbers, and what it refuses, and why."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel
from torch.optim import SGD, Adam, AdamW

from fobench import FreezeOut

STEPS = 20


def block() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())


def three_units() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(block(), block(), nn.Linear(6, 3))


def groups_of(units, **options) -> list[dict]:
    return [{"params": list(unit.parameters()), **options} for unit in units]


def frozen_through(units, optimizer, network=None, **options) -> FreezeOut:
    """Train to the end, as a user would."""
    freezeout = FreezeOut(units, optimizer, STEPS, t0=0.2, scaling="linear", **options)
    network = network or nn.Sequential(*units)
    for _ in range(STEPS):
        freezeout.step()
        optimizer.zero_grad()
        network(torch.randn(8, 6)).square().mean().backward()
        optimizer.step()
    return freezeout


class Residual(nn.Module):
    """A network that is not divided into units."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = block(), nn.ModuleList([block()]), nn.Linear(6, 3)

    def forward(self, images):
        return self.head(self.blocks[0](self.stem(images)))


# Units that can be given in many ways.


def test_a_module_dict_gives_its_modules():
    network = three_units()
    units = nn.ModuleDict(zip(("stem", "block", "head"), network, strict=True))
    freezeout = frozen_through(units, SGD(groups_of(units.values()), lr=0.1), network)
    assert freezeout.frozen == 2


def test_a_generator_gives_its_modules():
    network = three_units()
    optimizer = SGD(groups_of(network), lr=0.1)
    assert FreezeOut((unit for unit in network), optimizer, STEPS).frozen == 0


@pytest.mark.parametrize("wrap", [DataParallel, lambda network: torch.compile(network)])
def test_a_wrapped_network_is_taken_apart(wrap):
    network = three_units()
    optimizer = SGD(groups_of(network), lr=0.1)
    assert frozen_through(wrap(network), optimizer, network).frozen == 2


def test_units_that_are_wrapped_one_by_one():
    network = three_units()
    units = [torch.compile(unit, backend="eager") for unit in network]
    assert frozen_through(units, SGD(groups_of(network), lr=0.1)).frozen == 2
    assert not network[1].training


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (Residual(), "a Residual is not divided into units: give its modules in forward order"),
        (nn.Linear(2, 2), "a Linear is not divided into units"),
        ([block(), "head"], "a unit must be a torch.nn.Module, not str"),
        (None, "a NoneType is not divided into units"),
    ],
)
def test_what_is_not_divided_into_units_is_refused(units, reason):
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match=reason):
        FreezeOut(units, optimizer, STEPS)


def test_fully_sharded_parameters_are_refused():
    class FullyShardedDataParallel(nn.Module):
        """Has the name of torch's."""

    with pytest.raises(ValueError, match="joins the parameters of units into one"):
        FreezeOut(FullyShardedDataParallel(), SGD([nn.Parameter(torch.ones(1))]), STEPS)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_is_refused_as_its_mode_is_its_own():
    scripted = [torch.jit.trace(block(), torch.ones(2, 6)), block(), nn.Linear(6, 3)]
    for units in (scripted, nn.Sequential(nn.Sequential(scripted[0]), nn.Linear(6, 3))):
        with pytest.raises(ValueError, match="script the network after training"):
            FreezeOut(units, SGD(groups_of(units), lr=0.1), STEPS)


@pytest.mark.parametrize("twice", [lambda units: [units, units[0]], lambda units: [units] * 2])
def test_a_unit_within_another_or_listed_twice_is_refused(twice):
    units = twice(three_units())
    optimizer = SGD(units[0].parameters(), lr=0.1)
    with pytest.raises(ValueError, match="list no module twice, nor one within another"):
        FreezeOut(units, optimizer, STEPS)


def test_an_error_in_the_users_generator_is_the_users():
    def units():
        yield block()
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        FreezeOut(units(), SGD([nn.Parameter(torch.ones(1))]), STEPS)


# The head.


@pytest.mark.parametrize(
    "tail",
    [
        [nn.LogSoftmax(dim=1)],
        [nn.Identity(), nn.Flatten()],
        [nn.Linear(3, 3).requires_grad_(False), nn.Dropout(0.1)],
    ],
    ids=["log-softmax", "flatten", "frozen by the user"],
)
def test_the_head_is_the_last_unit_that_trains(tail):
    """Neither it nor what follows it freezes, and training runs to its end."""
    units = [block(), block(), nn.Linear(6, 3), *tail]
    optimizer = SGD(groups_of(units[:3]), lr=0.1)
    freezeout = frozen_through(units, optimizer)
    assert freezeout.frozen == 2
    assert freezeout.freeze_times == pytest.approx([0.2, 0.6, 1.0] + [1.0] * len(tail))
    assert freezeout.freeze_steps == [4, 12, STEPS] + [STEPS] * len(tail)
    assert units[2].weight.grad is not None
    assert all(unit.training for unit in units[2:])


def test_units_with_nothing_to_train_in_the_middle_freeze_like_others():
    units = [nn.Dropout(0.5), block(), nn.Identity(), nn.Linear(6, 3)]
    freezeout = frozen_through(units, SGD(groups_of([units[1], units[3]]), lr=0.1))
    assert freezeout.frozen == 3
    assert [unit.training for unit in units] == [False, False, False, True]


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        ([nn.Linear(6, 3)], "only unit 0 of 1 has parameters"),
        ([nn.Flatten(), nn.Linear(6, 3), nn.LogSoftmax(1)], "only unit 1 of 3 has parameters"),
        ([block().requires_grad_(False), nn.Linear(6, 3)], "only unit 1 of 2 .* never freezes"),
        ([nn.ReLU(), nn.Flatten()], "no unit has a parameter that requires a gradient"),
        ([block().requires_grad_(False)], "nothing to train"),
        ([], "nothing to train"),
    ],
)
def test_what_can_never_freeze_or_train_is_refused_at_once(units, reason):
    parameters = [parameter for unit in units for parameter in unit.parameters()]
    optimizer = SGD([{"params": parameters or [nn.Parameter(torch.ones(1))]}], lr=0.1)
    with pytest.raises(ValueError, match=reason):
        FreezeOut(units, optimizer, STEPS)


# Parameter groups.


def test_two_groups_a_unit_follow_the_schedule_of_their_unit():
    """No weight decay on biases and BatchNorm, and other rates for them; in any order."""
    network = three_units()
    groups = [
        {"params": [p for p in unit.parameters() if (p.ndim > 1) == decays], "lr": lr, **decay}
        for decays, lr, decay in ((True, 0.1, {"weight_decay": 0.1}), (False, 0.3, {}))
        for unit in reversed(network)
    ]
    optimizer = SGD(groups, momentum=0.9)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    for step in range(STEPS):
        freezeout.step()
        progress = step / STEPS
        for group, time, lr in zip(
            optimizer.param_groups, [1.0, 0.6, 0.2] * 2, [0.1] * 3 + [0.3] * 3, strict=True
        ):
            annealed = 0.5 * lr / time * (1 + np.cos(np.pi * progress / time))
            assert group["lr"] == pytest.approx(annealed if progress < time else 0.0)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1, 1, 3, 3]


def test_groups_of_other_parameters_are_left_alone():
    """Such as a loss with weights of its own, or parameters added later."""
    network, temperature = three_units(), nn.Parameter(torch.ones(1))
    groups = [{"params": [temperature], "lr": 0.7}, *groups_of(network, lr=0.1)]
    optimizer = Adam(groups)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.9})
    for _ in range(STEPS):
        freezeout.step()
    assert optimizer.param_groups[0]["lr"] == 0.7
    assert optimizer.param_groups[-1]["lr"] == 0.9
    assert optimizer.param_groups[1]["lr"] == 0.0
    assert temperature.requires_grad


def test_groups_filtered_by_requires_grad_are_complete():
    network = three_units()
    network[1][0].weight.requires_grad_(False)
    trained = [[p for p in unit.parameters() if p.requires_grad] for unit in network]
    optimizer = SGD([{"params": each} for each in trained], lr=0.1)
    assert frozen_through(network, optimizer).frozen == 2


def test_groups_without_parameters_belong_to_no_unit():
    """A group for each unit, also for those without parameters."""
    units = [block(), nn.AvgPool1d(1), block(), nn.Linear(6, 3)]
    freezeout = frozen_through(units, SGD(groups_of(units), lr=0.1))
    assert freezeout.frozen == 3
    assert [group["lr"] for group in freezeout.optimizer.param_groups][:3] == [0.0, 0.1, 0.0]


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.Rprop])
def test_optimizers_that_do_not_follow_their_rates_are_refused(kind):
    network = three_units()
    with pytest.raises(ValueError, match=f"{kind.__name__} cannot train units at rates of their"):
        FreezeOut(network, kind(network.parameters(), lr=0.1), STEPS)


def test_the_initial_rates_are_those_before_a_scheduler_changed_them():
    """As a warm-up does when it is made, and an earlier FreezeOut."""
    network = three_units()
    optimizer = SGD(groups_of(network), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    for _ in range(2):
        freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == [0.1 / time for time in freezeout.freeze_times]
    freezeout.release()
    for group in optimizer.param_groups:
        group["lr"] *= 2
    FreezeOut(network, optimizer, STEPS, scale_lr=False)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2] * 3


def test_a_parameter_that_trains_but_is_in_no_group_is_named():
    network = three_units()
    optimizer = SGD(groups_of([network[0], network[2]]), lr=0.1)
    with pytest.raises(ValueError, match="4 parameters of unit 1 require gradients, but are in no"):
        FreezeOut(network, optimizer, STEPS)


def test_a_group_of_a_unit_and_of_others_is_refused():
    network, temperature = three_units(), nn.Parameter(torch.ones(1))
    groups = groups_of(network)
    groups[1]["params"].append(temperature)
    with pytest.raises(ValueError, match="group 1 holds parameters of no unit and unit 1, but"):
        FreezeOut(network, SGD(groups, lr=0.1), STEPS)


def test_weights_tied_across_units_are_refused_for_that_reason():
    network = three_units()
    network[1][0].weight = network[0][0].weight
    groups = groups_of(network)
    groups[1]["params"] = [p for p in groups[1]["params"] if p is not network[0][0].weight]
    reason = r"units 0 and 1 share a parameter of shape \(6, 6\), .* untie it"
    with pytest.raises(ValueError, match=reason):
        FreezeOut(network, SGD(groups, lr=0.1), STEPS)


def test_weights_tied_within_a_unit_or_frozen_by_the_user_are_taken():
    network = three_units()
    network[0].append(network[0][0])
    frozen = network[1][0].weight.requires_grad_(False)
    network[2].shared = frozen
    groups = [{"params": [p for p in unit.parameters() if p.requires_grad]} for unit in network]
    assert frozen_through(network, SGD(groups, lr=0.1)).frozen == 2


def test_parameters_in_a_plain_list_freeze_with_their_unit():
    """torch does not register them; the user gave them to the optimizer."""
    network = three_units()
    loose = nn.Parameter(torch.ones(6))
    network[0].loose = [loose]
    network[0].register_forward_hook(lambda unit, _, output: output * unit.loose[0])
    groups = groups_of(network)
    groups[0]["params"].append(loose)
    optimizer = SGD(groups, lr=0.1, momentum=0.9)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    while not freezeout.frozen:
        freezeout.step()
    assert not loose.requires_grad


# Learning rates that are tensors.


@pytest.mark.parametrize("each_its_own", [False, True])
def test_a_rate_that_is_a_tensor_is_filled_in_place(each_its_own):
    """Compiled and captured steps hold on to the tensor; rates of groups differ nonetheless."""
    network = three_units()
    rate = torch.tensor(0.1)
    groups = groups_of(network)
    for group in groups if each_its_own else ():
        group["lr"] = rate.clone()
    optimizer = AdamW(groups, lr=rate)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    held = [group["lr"] for group in optimizer.param_groups]
    assert [float(each) for each in held] == pytest.approx([0.5, 0.1 / 0.6, 0.1])
    for _ in range(STEPS):
        freezeout.step()
    assert all(
        group["lr"] is each for group, each in zip(optimizer.param_groups, held, strict=True)
    )
    last = 0.5 * 0.1 * (1 + np.cos(np.pi * (STEPS - 1) / STEPS))
    assert [float(each) for each in held] == pytest.approx([0, 0, last])
    assert float(rate) == pytest.approx(0.1), "the user's own tensor is not touched"


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["float", "tensor"])
@pytest.mark.parametrize("loaded_first", [False, True])
def test_the_rates_of_a_resumed_run_go_on(rate, loaded_first):
    """Whether FreezeOut is made before or after the optimizer is loaded; at once, too, as a loop
    that steps at its end takes a training step first."""

    def start(saved=None):
        network = three_units()
        optimizer = AdamW(groups_of(network), lr=rate)
        if saved is not None and loaded_first:
            optimizer.load_state_dict(saved[0])
        freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
        if saved is not None:
            if not loaded_first:
                optimizer.load_state_dict(saved[0])
            freezeout.load_state_dict(saved[1])
        return optimizer, freezeout

    def rates(optimizer):
        return [float(group["lr"]) for group in optimizer.param_groups]

    optimizer, freezeout = start()
    for _ in range(8):
        freezeout.step()
    resumed_optimizer, resumed = start((optimizer.state_dict(), freezeout.state_dict()))
    for _ in range(STEPS - 8):
        assert rates(optimizer) == rates(resumed_optimizer)
        assert rates(optimizer)[0] == 0
        freezeout.step()
        resumed.step()


def test_a_state_of_other_groups_is_refused():
    network = three_units()
    freezeout = FreezeOut(network, SGD(groups_of(network), lr=0.1), STEPS)
    split = [{"params": [p]} for unit in network for p in unit.parameters()]
    other = FreezeOut(network, SGD(split, lr=0.1), STEPS)
    with pytest.raises(ValueError, match="other parameter groups"):
        other.load_state_dict(freezeout.state_dict())


# Numbers.


@pytest.mark.parametrize("total_steps", [np.int64(STEPS), torch.tensor(STEPS)])
def test_integers_of_other_libraries_are_integers(total_steps):
    network = three_units()
    freezeout = FreezeOut(network, SGD(groups_of(network), lr=0.1), total_steps)
    assert type(freezeout.total_steps) is int
    assert freezeout.total_steps == STEPS


@pytest.mark.parametrize("total_steps", [True, 0, -1, 2.0, np.float64(20), "20", None])
def test_what_is_no_number_of_steps_is_refused(total_steps):
    network = three_units()
    with pytest.raises(ValueError, match="total_steps must be an integer of at least 1, not"):
        FreezeOut(network, SGD(groups_of(network), lr=0.1), total_steps)


@pytest.mark.parametrize("t0", [0, 1.1, float("nan"), True, "0.5", None])
def test_what_is_no_freeze_time_is_refused(t0):
    network = three_units()
    with pytest.raises(ValueError, match="t0 must be"):
        FreezeOut(network, SGD(groups_of(network), lr=0.1), STEPS, t0=t0)


def test_a_freeze_time_of_numpy_is_a_number():
    network = three_units()
    freezeout = FreezeOut(network, SGD(groups_of(network), lr=0.1), STEPS, t0=np.float32(0.5))
    assert freezeout.freeze_times[0] == pytest.approx(0.125)
