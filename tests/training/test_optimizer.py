"""One optimizer for all methods: a step costs the same under any, but for what freezing spares."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fobench.freezing.groups import set_rates
from fobench.methods import BaselineOptions, FreezeOutOptions
from fobench.training import optimizer as optimizers
from fobench.training.loop import train
from fobench.training.optimizer import build_optimizer, load_state
from fobench.training.state import Training, build_network
from tests.activations.small_runs import CPU, Unseen, loaded

METHODS = (
    BaselineOptions(),
    BaselineOptions(annealing="constant"),
    FreezeOutOptions(t0=1.0),
    FreezeOutOptions(t0=1.0, scale_lr=False, scaling="linear"),
)


def test_with_decay_on_all_every_method_has_a_parameter_group_for_each_unit(run):
    for method in METHODS:
        training = Training(replace(run, method=method), loaded(run), CPU)
        groups = training.optimizer.param_groups
        assert len(groups) == len(training.network)
        for group, unit in zip(groups, training.network, strict=True):
            assert [id(each) for each in group["params"]] == [id(p) for p in unit.parameters()]
            assert group["initial_lr"] == run.train.lr


class Operations(TorchDispatchMode):
    """Counts the operations on tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.found[str(function)] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("fused", [set(), {"cpu"}])
def test_all_methods_do_the_same_operations_while_nothing_is_frozen(run, fused, monkeypatch):
    """Also where rates are tensors and updates fused, as on CUDA."""
    monkeypatch.setattr(optimizers, "FUSED", fused)
    counts = []
    for method in METHODS:
        training = Training(replace(run, method=method), loaded(run), CPU)
        rows = train(training, Unseen())
        next(rows)
        with Operations() as operations:
            next(rows)
        counts.append(operations.found)
    assert counts[0]["aten.convolution.default"] > 0
    assert all(each == counts[0] for each in counts)


def test_rates_are_floats_where_updates_are_not_fused(run):
    optimizer = build_optimizer(build_network(run), run.train)
    assert {type(group["lr"]) for group in optimizer.param_groups} == {float}


def test_loaded_rates_are_tensors_on_the_device_whatever_was_saved(run, monkeypatch):
    network = build_network(run)
    plain = build_optimizer(network, run.train).state_dict()
    monkeypatch.setattr(optimizers, "FUSED", {"cpu"})
    optimizer = build_optimizer(network, run.train)
    for saved in (optimizer.state_dict(), plain):
        for group in saved["param_groups"]:
            group["lr"] = group["lr"] * 0.5
        load_state(optimizer, saved, CPU)
        for group in optimizer.param_groups:
            assert group["lr"].dtype == torch.float32
            assert float(group["lr"]) == pytest.approx(0.05)
        # Setting the rates must not change what was saved.
        set_rates(optimizer.param_groups, [7.0] * len(optimizer.param_groups))
        assert all(float(group["lr"]) < 1 for group in saved["param_groups"])
