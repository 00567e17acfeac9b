"""Frozen units are in evaluation mode in every forward pass, whoever changes the mode, and when."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD

from fobench import FreezeOut

STEPS = 20


class Block(nn.Sequential):
    """A unit whose mode matters: BatchNorm and dropout."""

    def __init__(self, width: int = 6) -> None:
        super().__init__(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5))


class KeepsItsOwnMode(Block):
    """As backbones do that keep their BatchNorm frozen: the flag alone does not tell the mode."""

    uses_batch_statistics = True

    def train(self, mode: bool = True) -> nn.Module:
        self.uses_batch_statistics = mode
        return super().train(mode)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self[1].training = self.uses_batch_statistics
        return super().forward(images)


class AlwaysTrains(Block):
    """As Monte Carlo dropout does: it ignores `eval()`."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)


class Unregistered(nn.Module):
    """Its submodules are in plain containers, to which it passes `train()` on by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.others = [{"norm": nn.BatchNorm1d(6, affine=False)}, (nn.Dropout(0.5),)]

    def train(self, mode: bool = True) -> nn.Module:
        self.others[0]["norm"].train(mode)
        self.others[1][0].train(mode)
        return super().train(mode)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.others[1][0](self.others[0]["norm"](self.linear(images)))


class SetsFlags(nn.Sequential):
    """A network whose `train()` assigns to `training`, past the `train()` of its units."""

    def train(self, mode: bool = True) -> nn.Module:
        for module in self.modules():
            module.training = mode
        return self


UNITS = {
    "plain": Block,
    "keeps its own mode": KeepsItsOwnMode,
    "always trains": AlwaysTrains,
    "unregistered": Unregistered,
}


def start(
    make_unit: type[nn.Module] = Block, network_type: type[nn.Sequential] = nn.Sequential
) -> tuple[nn.Sequential, SGD, FreezeOut]:
    torch.manual_seed(0)
    network = network_type(make_unit(), make_unit(), make_unit(), nn.Linear(6, 3))
    groups = [{"params": unit.parameters()} for unit in network]
    optimizer = SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-2)
    return network, optimizer, FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")


def batch_norms(unit: nn.Module) -> list[nn.BatchNorm1d]:
    found = [module for module in unit.modules() if isinstance(module, nn.BatchNorm1d)]
    return found or [unit.others[0]["norm"]]


def state_of(unit: nn.Module) -> list[torch.Tensor]:
    statistics = [norm.running_mean for norm in batch_norms(unit)]
    return [each.detach().clone() for each in (*unit.state_dict().values(), *statistics)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def update(network: nn.Module, optimizer: SGD, seed: int) -> None:
    images = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    (network(images) - 1).square().mean().backward()
    optimizer.step()


def freeze_first(freezeout: FreezeOut, count: int = 1) -> None:
    while freezeout.frozen < count:
        freezeout.step()


# The orders in which people write a training step.
def step_first(network, optimizer, freezeout, seed):
    freezeout.step()
    update(network, optimizer, seed)


def step_last(network, optimizer, freezeout, seed):
    network.train()
    update(network, optimizer, seed)
    freezeout.step()


def train_before_each_pass(network, optimizer, freezeout, seed):
    freezeout.step()
    for micro_batch in range(2):
        network.train()
        update(network, optimizer, 2 * seed + micro_batch)


def evaluate_in_between(network, optimizer, freezeout, seed):
    freezeout.step()
    network.eval()
    network(torch.ones(2, 6))
    network.train()
    update(network, optimizer, seed)


def set_the_flags(network, optimizer, freezeout, seed):
    freezeout.step()
    for module in network.modules():
        module.training = True
    update(network, optimizer, seed)


ORDERS = (step_first, step_last, train_before_each_pass, evaluate_in_between, set_the_flags)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("network_type", [nn.Sequential, SetsFlags])
def test_a_frozen_unit_stays_bit_identical_in_every_order(order, unit, network_type):
    """Weights and running statistics; and its output does not depend on dropout."""
    network, optimizer, freezeout = start(unit, network_type)
    when_frozen: dict[int, list[torch.Tensor]] = {}
    images = torch.randn(8, 6)
    for seed in range(STEPS):
        for index in range(freezeout.frozen):
            when_frozen.setdefault(index, state_of(network[index]))
        order(network, optimizer, freezeout, seed)
        for index, state in when_frozen.items():
            assert same(state, state_of(network[index])), f"unit {index} moved in step {seed}"
        network.train()
        frozen = network[: freezeout.frozen]
        assert torch.equal(frozen(images), frozen(images))
        assert all(norm.training for norm in batch_norms(network[2]) if freezeout.frozen < 3)
    assert len(when_frozen) == 3


def test_what_the_learning_rates_of_a_step_at_the_end_are():
    """Those of the step before, from scaled rates on; torch's schedulers are called so."""
    network, optimizer, freezeout = start()
    at_start = [group["lr"] for group in optimizer.param_groups]
    assert at_start == [0.1 / time for time in freezeout.freeze_times]
    assert at_start[0] == pytest.approx(0.5)
    seen = []
    for seed in range(STEPS):
        update(network, optimizer, seed)
        freezeout.step()
        seen.append([group["lr"] for group in optimizer.param_groups])
    assert seen[0] == at_start
    assert freezeout.frozen == 3


def test_a_unit_that_counts_its_forward_passes_by_mode_counts_none():
    """Evaluation mode at the very pass, as seen from inside."""
    network, optimizer, freezeout = start()
    seen: list[bool] = []
    network[0][1].register_forward_pre_hook(lambda module, _: seen.append(module.training))
    for seed in range(STEPS):
        freezeout.step()
        network.train()
        update(network, optimizer, seed)
    assert seen == [True] * freezeout.freeze_steps[0] + [False] * (
        STEPS - freezeout.freeze_steps[0]
    )


@pytest.mark.parametrize("bag", [False, True])
def test_an_embedding_with_max_norm_no_longer_writes_its_weights(bag):
    """A forward pass rescales what it looks up, in evaluation mode too."""
    torch.manual_seed(0)
    kind = nn.EmbeddingBag if bag else nn.Embedding
    embedding = kind(9, 4, max_norm=0.5)
    words = nn.Sequential(embedding) if bag else nn.Sequential(embedding, nn.Flatten(0, 1))
    network = nn.Sequential(words, nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.5)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.3, scaling="linear")
    as_ever = copy.deepcopy(embedding)
    indices = torch.arange(9).reshape(3, 3)
    freeze_first(freezeout)
    frozen = embedding.weight.clone()
    for _ in range(freezeout.total_steps // 2):
        network(indices[torch.randperm(3)]).sum().backward()
        assert torch.equal(embedding.weight, frozen)
    assert embedding.weight.norm(dim=1).max() <= 0.5 + 1e-6
    assert torch.equal(embedding(indices), as_ever(indices)), "its output is as ever"
    assert copy.deepcopy(embedding).max_norm == 0.5
    freezeout.release()
    assert embedding.max_norm == 0.5


def test_reference_to_the_network_or_to_another_unit_freezes_neither():
    """Units that know their network in a plain attribute hold only what is theirs."""
    network, optimizer, _ = start()
    network[0].everything = [network]
    network[0].next = {"unit": network[1]}
    network[0].everything.append(network[0].everything)  # a list that holds itself
    network[0].everything.append(wrapper := nn.Sequential(network[0]))
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    freeze_first(freezeout)
    network.train()
    wrapper.train()
    assert network.training
    assert wrapper.training
    assert all(module.training for module in network[1].modules())
    assert not any(module.training for module in network[0].modules())


class Positions(nn.Module):
    """State that no pass changes, as of rotary embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positions", torch.arange(6.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.positions


@pytest.mark.parametrize(
    "relu", [nn.ReLU(), nn.Sequential(Positions(), nn.ReLU()), nn.Dropout(0.0), nn.GELU()]
)
def test_what_units_share_stays_active_while_an_active_unit_holds_it(relu):
    network = nn.Sequential(
        *(nn.Sequential(nn.Linear(6, 6), relu, nn.BatchNorm1d(6)) for _ in range(3)),
        nn.Linear(6, 3),
    )
    optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.1)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    for count, active in ((1, True), (2, True), (3, False)):
        freeze_first(freezeout, count)
        assert relu.training == active
        assert network[2][2].training == active


class DropPath(nn.Module):
    """A user's own module without state that acts in training alone."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if not self.training else images * (torch.rand(()) > 0.1)


class InAProperty(nn.Module):
    share = property(lambda self: 0.1 if getattr(self, "training") else 0.0)  # noqa: B009

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * (torch.rand(()) > self.share)


class ThroughAnother(nn.Module):
    p, inplace = 0.1, False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.Dropout.forward(self, images)


def with_forward_of_its_own() -> nn.Module:
    module = nn.Identity()
    module.forward = lambda images: nn.functional.dropout(images, 0.1, module.training)
    return module


def of_unknown_source() -> nn.Module:
    names: dict = {"nn": nn}
    exec("class Unknown(nn.Module):\n def forward(self, images): return images", names)
    return names["Unknown"]()


@pytest.mark.parametrize(
    "shared",
    [
        nn.Dropout(0.5),
        nn.BatchNorm1d(6, affine=False),
        nn.InstanceNorm1d(6, track_running_stats=True),
        nn.RReLU(),
        DropPath(),
        InAProperty(),
        ThroughAnother(),
        with_forward_of_its_own(),
        of_unknown_source(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_units_that_share_what_acts_differently_in_training_are_refused(shared):
    units = [nn.Sequential(nn.Linear(6, 6), shared) for _ in range(2)] + [nn.Linear(6, 3)]
    optimizer = SGD([{"params": unit.parameters()} for unit in units], lr=0.1)
    reason = rf"units 0 and 1 share a {type(shared).__name__}, .*give each unit its own"
    with pytest.raises(ValueError, match=reason):
        FreezeOut(units, optimizer, STEPS)


def test_within_a_unit_and_behind_the_head_everything_can_be_shared():
    dropout = nn.Dropout(0.5)
    units = [
        nn.Sequential(dropout, nn.Linear(6, 6), dropout),
        nn.Linear(6, 3),
        other := nn.Dropout(0.1),
        other,
    ]
    optimizer = SGD([{"params": units[index].parameters()} for index in (0, 1)], lr=0.1)
    freezeout = FreezeOut(units, optimizer, STEPS, t0=0.5)
    freeze_first(freezeout)
    assert not dropout.training
    assert other.training


def test_copies_and_pickles_of_a_frozen_network_answer_train():
    """As for a moving average of the weights, or for fine-tuning; and they need no fobench."""
    network, _, freezeout = start()
    freeze_first(freezeout, 2)
    pickled = io.BytesIO()
    torch.save(network, pickled)
    assert b"fobench" not in pickle.dumps(network)
    pickled.seek(0)
    loaded = torch.load(pickled, weights_only=False)
    for other in (copy.deepcopy(network), loaded):
        assert [type(module) for module in other] == [Block, Block, Block, nn.Linear]
        other.train()
        assert all(module.training for module in other.modules())
        moved = other[0][1].running_mean.clone()
        other(torch.randn(8, 6))
        assert not torch.equal(moved, other[0][1].running_mean)
    network.train()
    assert not network[0].training
    assert freezeout.frozen == 2


def test_the_network_keeps_neither_optimizer_nor_freezeout_alive():
    network, optimizer, freezeout = start()
    freeze_first(freezeout)
    gone = [weakref.ref(optimizer), weakref.ref(freezeout)]
    gc.disable()
    try:
        del optimizer, freezeout
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()
    network.train()
    assert not network[0].training


@pytest.mark.parametrize("copied", ["copied", "pickled"])
def test_a_freezeout_copied_with_its_network_keeps_the_copy_frozen(copied):
    """As in a checkpoint of a whole trainer."""
    both = start()
    freeze_first(both[2], 2)
    if copied == "pickled":
        network, optimizer, freezeout = pickle.loads(pickle.dumps(both))
    else:
        network, optimizer, freezeout = copy.deepcopy(both)
    states = [state_of(unit) for unit in network[:2]]
    while freezeout.frozen < 3:
        step_last(network, optimizer, freezeout, 0)
        network.train()
        assert all(same(state, state_of(network[i])) for i, state in enumerate(states))
    assert both[2].frozen == 2


class PassesTheModeOn(Block):
    """Its `train()` takes the next unit along."""

    next_unit: list[nn.Module]

    def train(self, mode: bool = True) -> nn.Module:
        for unit in getattr(self, "next_unit", ()):
            unit.train(mode)
        return super().train(mode)


def test_a_unit_that_passes_its_mode_on_leaves_the_next_one_active():
    network, optimizer, _ = start(PassesTheModeOn)
    network[0].next_unit = [network[1]]
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    freeze_first(freezeout)
    assert not network[0][1].training
    assert all(module.training for module in network[1].modules())


def test_a_parameter_of_another_unit_in_a_plain_list_stays_with_that_unit():
    network, optimizer, _ = start()
    network[0].watched = [network[3].weight]
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    freeze_first(freezeout)
    assert network[3].weight.requires_grad
    assert not network[0][0].weight.requires_grad


def test_released_units_train_again():
    network, optimizer, freezeout = start()
    network[1][0].bias.requires_grad_(False)
    freezeout = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear")
    freeze_first(freezeout, 3)
    with pytest.raises(ValueError, match=r"unit 0 was frozen by another .* call release\(\)"):
        FreezeOut(network, optimizer, STEPS)
    freezeout.release()
    assert freezeout.frozen == 0
    assert type(network[0]) is Block
    assert all(module.training for module in network.modules()), "in the mode that they had"
    assert [group["lr"] for group in optimizer.param_groups] == [0.1] * 4
    assert all(module.training for module in network.modules())
    assert not network[1][0].bias.requires_grad, "the user's own freezing is kept"
    before = [state_of(unit) for unit in network[:3]]
    update(network, optimizer, 0)
    assert not same(before[0], state_of(network[0]))
    assert not same(before[1], state_of(network[1]))
    again = FreezeOut(network, optimizer, STEPS, t0=0.2, scaling="linear", scale_lr=False)
    freeze_first(again, 3)
    network.train()
    assert not network[0].training


def test_an_earlier_state_loads_after_release():
    network, _, freezeout = start()
    early = freezeout.state_dict()
    freeze_first(freezeout, 2)
    with pytest.raises(ValueError, match=r"does not thaw: call release\(\)"):
        freezeout.load_state_dict(early)
    freezeout.release()
    freezeout.load_state_dict(early)
    freeze_first(freezeout, 1)
    assert freezeout.frozen == 1
    assert network[1][0].weight.requires_grad


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.5, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.attention(images[None], images[None], images[None])[0][0]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(6, 6, num_layers=2, dropout=0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.recurrent(images)[0]


def with_spectral_norm() -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))


def with_former_spectral_norm() -> nn.Module:
    return nn.utils.spectral_norm(nn.Linear(6, 6))


LAYERS = {
    "attention": Attention,
    "recurrent": Recurrent,
    "spectral norm": with_spectral_norm,
    "former spectral norm": with_former_spectral_norm,
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
    "cumulative statistics": lambda: nn.Sequential(
        nn.Linear(6, 6), nn.BatchNorm1d(6, momentum=None)
    ),
    "instance norm": lambda: nn.Sequential(
        nn.Linear(6, 6),
        nn.Unflatten(1, (2, 3)),
        nn.InstanceNorm1d(2, track_running_stats=True),
        nn.Flatten(),
    ),
    "random slopes": lambda: nn.Sequential(nn.Linear(6, 6), nn.RReLU()),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers_of_all_kinds_stay_as_they_are(layer):
    """Weights and buffers bit for bit, and an output that is the same in each pass."""
    network, optimizer, freezeout = start(layer)
    images = torch.randn(8, 6)
    states: dict[int, dict] = {}
    for seed in range(STEPS):
        for index in range(freezeout.frozen):
            states.setdefault(index, copy.deepcopy(network[index].state_dict()))
        step_last(network, optimizer, freezeout, seed)
        for index, state in states.items():
            now = network[index].state_dict()
            assert all(torch.equal(each, now[name]) for name, each in state.items())
    frozen = network[:3]
    network.train()
    assert torch.equal(frozen(images), frozen(images))
    assert len(states) == 3


def test_units_that_are_never_called_themselves_are_frozen_too():
    """Their modules are, by a network that groups them into units for FreezeOut alone."""
    torch.manual_seed(0)
    flat = nn.Sequential(*Block(), *Block(), nn.Linear(6, 3))
    units = [nn.ModuleList(flat[:4]), nn.ModuleList(flat[4:8]), flat[8]]
    optimizer = SGD([{"params": unit.parameters()} for unit in units], lr=0.1, momentum=0.9)
    freezeout = FreezeOut(units, optimizer, STEPS, t0=0.2, scaling="linear")
    states: dict[int, list[torch.Tensor]] = {}
    for seed in range(STEPS):
        flat.train()
        for module in flat[:4]:
            module.training = True
        freezeout.step()
        for index in range(freezeout.frozen):
            states.setdefault(index, state_of(units[index]))
        flat.train()
        update(flat, optimizer, seed)
        for index, state in states.items():
            assert same(state, state_of(units[index]))
    assert len(states) == 2


def test_a_resumed_embedding_is_not_rescaled_again():
    """A second time would move some weights by a rounding."""

    def begin() -> tuple[nn.Sequential, FreezeOut]:
        torch.manual_seed(0)
        words = nn.Sequential(nn.Embedding(5000, 64, max_norm=0.5), nn.Flatten(0, 1))
        network = nn.Sequential(words, nn.Linear(64, 4), nn.Linear(4, 2))
        optimizer = SGD([{"params": unit.parameters()} for unit in network], lr=0.5)
        return network, FreezeOut(network, optimizer, STEPS, t0=0.3, scaling="linear")

    network, freezeout = begin()
    freeze_first(freezeout)
    resumed_network, resumed = begin()
    resumed_network.load_state_dict(network.state_dict())
    resumed.load_state_dict(freezeout.state_dict())
    assert resumed.frozen == 1
    assert torch.equal(resumed_network[0][0].weight, network[0][0].weight)


class Guarded(Block):
    """Its attributes are not to be assigned, but for torch's own."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "__class__":
            raise AttributeError(name)
        super().__setattr__(name, value)


class OfAKnownKind(Block):
    """Whose subclasses must say what kind they are."""

    def __init_subclass__(cls, *, kind: str) -> None:
        super().__init_subclass__()


def test_a_module_that_guards_its_attributes_is_frozen_and_released():
    network, optimizer, freezeout = start(Guarded)
    freeze_first(freezeout, 3)
    network.train()
    before = state_of(network[0])
    update(network, optimizer, 0)
    assert same(before, state_of(network[0]))
    freezeout.release()
    assert [type(unit) for unit in network[:3]] == [Guarded] * 3


def test_a_class_that_cannot_be_frozen_fails_at_once():
    """In the constructor, not after hours at the first freeze."""
    with pytest.raises(TypeError, match="kind"):
        start(OfAKnownKind)
