"""The networks, one file per family: its options, and how it is built as a sequence of units.

To add one: write its file and add it to FAMILIES. See docs/adding-a-network.md. Torch is imported
only when a network is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fobench.models.base import ModelOptions, NetworkOptions
from fobench.models.densenet import DenseNetOptions
from fobench.models.elsewhere import ElsewhereOptions
from fobench.models.sources import FileOptions, TimmOptions, TorchvisionOptions
from fobench.models.vgg import VGGOptions
from fobench.models.wideresnet import WideResNetOptions
from fobench.validation import read

if TYPE_CHECKING:
    from torch import nn

# Networks from elsewhere, by what their names begin with; a user's file is the rest.
SOURCES: dict[str, type[ElsewhereOptions]] = {
    "torchvision": TorchvisionOptions,
    "timm": TimmOptions,
    "file": FileOptions,
}

FAMILIES: dict[str, type[ModelOptions]] = {
    "densenet": DenseNetOptions,
    "wideresnet": WideResNetOptions,
    "vgg": VGGOptions,
}


def options_class(name: str) -> type[NetworkOptions] | None:
    """The class of the options of a network of that name; None for an unknown one."""
    if ":" not in name:
        return FAMILIES.get(name)
    source, _, rest = name.partition(":")
    if source in SOURCES and source != "file" and rest:
        return SOURCES[source]
    return FileOptions if name.rpartition(":")[0].endswith(".py") else None


def build(name: str, num_classes: int, in_channels: int = 3, **options: Any) -> nn.Sequential:
    """A newly initialised network of the family `name`; weights from torch's random state.

    For images of any size: maps [N, in_channels, H, W] to logits [N, num_classes].

    Raises ValueError for an unknown family or an invalid option.
    """
    if name not in FAMILIES:
        raise ValueError(f"no network family {name!r}: available are {', '.join(FAMILIES)}")
    checked, problems = read(FAMILIES[name], options, name)
    if checked is None:
        raise ValueError("; ".join(problems))
    return checked.build(num_classes, (32, 32, in_channels))
