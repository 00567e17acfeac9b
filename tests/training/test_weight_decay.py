"""Weight decay on matrices alone: what networks exempt by name, and what stays as it was."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.options import TrainOptions
from fobench.models import options_class
from fobench.training.optimizer import build_optimizer, is_matrix

CONFIGS = Path(__file__).parents[2] / "configs" / "cpu"
OPTIONS = TrainOptions(
    epochs=1, batch_size=2, optimizer="adamw", lr=1e-3, weight_decay=0.1, decay_on="matrices"
)
SWIN = {"patch_size": 2, "window_size": 4, "embed_dim": 4, "depths": [1, 1], "num_heads": [1, 2]}


class Attention(nn.Module):
    """With tables [a, b] of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3, 2))
        self.places = nn.Parameter(torch.zeros(3, 2))
        self.own = nn.Linear(3, 2)

    def no_weight_decay(self):
        return ["places", "own.weight", "absent"]


def decayed(network: nn.Module) -> set[str]:
    """The names of the parameters that decay."""
    groups = build_optimizer(network, OPTIONS).param_groups
    ids = {id(each) for group in groups if group["weight_decay"] for each in group["params"]}
    return {name for name, each in network.named_parameters() if id(each) in ids}


def test_names_are_those_within_the_module_that_gives_them():
    """A table of that name elsewhere decays."""
    outside = nn.Module()
    outside.places = nn.Parameter(torch.zeros(3, 2))
    network = nn.Sequential(nn.Sequential(Attention(), outside), nn.Linear(3, 2))
    assert decayed(network) == {"0.1.places", "1.weight"}


def test_code_of_a_network_that_fails_is_named():
    network = nn.Sequential(Attention())
    network[0].no_weight_decay = lambda: 1 / 0
    with pytest.raises(UserError, match=r"Attention: no_weight_decay\(\) raised ZeroDivisionError"):
        build_optimizer(network, OPTIONS)


def test_relative_positions_of_a_network_of_timm_do_not_decay():
    pytest.importorskip("timm")
    name = "timm:swin_tiny_patch4_window7_224"
    model = options_class(name)(name=name, options=SWIN)
    network = model.build(10, (16, 16, 3))
    tables = [
        id(each)
        for name, each in network.original.named_parameters()
        if name.endswith("relative_position_bias_table")
    ]
    assert len(tables) == 2
    for group in build_optimizer(network, OPTIONS).param_groups:
        held = {id(each) for each in group["params"]}
        exempt = not group["weight_decay"]
        assert exempt or not held & set(tables)
        assert exempt != all(is_matrix(each) for each in group["params"] if id(each) not in tables)


@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_the_configs_of_networks_of_timm_have_the_groups_that_shapes_give(name):
    """As when their results were made: matrices, then the others, of each unit."""
    pytest.importorskip("timm")
    experiment = load(CONFIGS / f"{name}.toml")
    network = experiment.model.build(10, (32, 32, 3))
    found = [
        [id(each) for each in group["params"]]
        for group in build_optimizer(network, experiment.train).param_groups
    ]
    expected = [
        [id(each) for each in unit.parameters() if is_matrix(each) == chosen]
        for unit in network
        for chosen in (True, False)
    ]
    assert found == [each for each in expected if each]
