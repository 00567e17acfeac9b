"""Cuts behind a network's children, and behind lists of modules."""

import pytest
import torch
from torch import nn

from fobench.cutting.cut import cut_network
from fobench.cutting.refusals import CannotCutError
from tests.cutting.networks import CLASSES, ConvNormReLU, Residual

SHAPE = (8, 8, 3)


class WithList(nn.Module):
    """As that in docs/networks.md."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormReLU(3, 6)
        self.blocks = nn.ModuleList(Residual(6) for _ in range(3))
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        for block in self.blocks:
            images = block(images)
        return self.head(images.mean((2, 3)))


class Tempered(WithList):
    """Something without weights behind its last module."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) / 2


class FixedHead(WithList):
    def __init__(self) -> None:
        super().__init__()
        self.head.requires_grad_(False)


class FixedBut(WithList):
    """Only the stem trains."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)
        self.stem.requires_grad_(True)


class KeepsWhole(WithList):
    """Integers, which cannot go from unit to unit, go past its blocks."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.stem(images)
        whole = images.int()
        for block in self.blocks:
            images = block(images)
        return self.head((images + whole).mean((2, 3)))


class WithoutWeights(nn.Module):
    """As torchvision's ResNet: some of its children have no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
        self.pool, self.layer1, self.layer2 = nn.MaxPool2d(2), Residual(6), Residual(6)
        self.average, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.1)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = self.pool(self.relu(self.norm(self.conv(images))))
        images = self.average(self.layer2(self.layer1(images)))
        return self.fc(self.dropout(images.flatten(1)))


def names(network: nn.Module, units: str | list[str]) -> list[str]:
    return [name for name, _ in cut_network(network, SHAPE, units).named_children()]


def refusal(network: nn.Module, units: str | list[str]) -> str:
    with pytest.raises(CannotCutError) as error:
        cut_network(network, SHAPE, units)
    return str(error.value)


def test_a_list_of_modules_ends_behind_the_last_call_of_one_of_them():
    assert names(WithList(), "children") == ["stem", "blocks_0", "head"]
    assert names(WithList(), ["blocks"]) == ["stem", "head"]
    cut = cut_network(WithList(), SHAPE, ["stem", "blocks"], check=False)
    assert [len(list(unit.parameters())) for unit in cut] == [3, 15, 2]


def test_a_list_that_ends_in_no_cut_is_passed_over_unless_it_is_named():
    assert names(KeepsWhole(), "children") == ["stem", "blocks_0"]
    assert "cannot be cut behind blocks: 2 values cross there" in refusal(KeepsWhole(), ["blocks"])


def test_children_without_weights_are_no_units():
    assert names(WithoutWeights(), "children") == ["conv", "layer1", "layer2", "fc"]


def test_a_network_with_one_child_is_told_what_to_give():
    network = nn.Sequential(ConvNormReLU(3, 4), nn.Flatten(), nn.Linear(256, CLASSES))
    reason = refusal(nn.Sequential(network), "children")
    assert 'Sequential has no two children with weights that can be units: give units = "auto"' in (
        reason
    )


def test_a_module_in_one_that_cannot_be_looked_into_is_told_why():
    class WithoutGradients(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                images = images * 2
            return super().forward(images)

    network = nn.Sequential(
        ConvNormReLU(3, 6),
        WithoutGradients(Residual(6), Residual(6)),
        nn.Flatten(),
        nn.Linear(384, CLASSES),
    )
    reason = refusal(network, ["1.0"])
    assert "units: 1.0 is in 1, which could not be looked into (it switches gradients" in reason


@pytest.mark.parametrize(
    ("network", "units", "expected"),
    [
        (Tempered, ["stem", "blocks", "head"], 3),
        (FixedHead, "children", 2),
        (FixedHead, "auto", 4),
    ],
)
def test_the_last_unit_trains_as_it_is_the_one_that_never_freezes(network, units, expected):
    """Else freeze times would be those of one unit more than can freeze."""
    cut = cut_network(network(), SHAPE, units)
    *_, last = cut.children()
    assert any(parameter.requires_grad for parameter in last.parameters())
    assert len(cut) == expected


def test_a_network_whose_first_unit_alone_trains_is_refused():
    with pytest.raises(CannotCutError, match="only its first unit has parameters that require"):
        cut_network(FixedBut(), SHAPE, "children")
