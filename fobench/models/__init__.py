"""The networks, each an `nn.Sequential` of its units in forward order; the head is the last."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fobench.models.families import FAMILIES
from fobench.options import read

if TYPE_CHECKING:
    from torch import nn


def build(name: str, num_classes: int, in_channels: int = 3, **options: Any) -> nn.Sequential:
    """A freshly initialised network of the family `name`; weights from torch's random state.

    Maps images [N, in_channels, H, W] to logits [N, num_classes].

    Raises ValueError for an unknown family or an option that it does not take or allow.
    """
    # Here, not above: whoever only asks which families there are need not wait for torch.
    from fobench.models.initialise import initialise

    if name not in FAMILIES:
        raise ValueError(f"no network family {name!r}: there are {', '.join(FAMILIES)}")
    checked, problems = read(FAMILIES[name], options, name)
    if checked is None:
        raise ValueError("; ".join(problems))
    family = import_module(f"fobench.models.{name}")
    network = family.build(num_classes, in_channels, **asdict(checked))
    initialise(network)
    return network
