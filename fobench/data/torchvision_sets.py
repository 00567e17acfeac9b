"""The data sets that torchvision downloads by itself, and how each is called there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """torchvision's class, with options for the parts that are trained and tested on.

    `varies` where images differ in size.
    """

    name: str
    train: tuple[Options, ...] = ({"train": True},)
    test: Options = field(default_factory=lambda: {"train": False})
    varies: bool = False


def by_split(name: str, *train: str, varies: bool = False, test: str = "test") -> Source:
    """A class that calls its parts splits; several of them can be trained on."""
    splits = tuple({"split": split} for split in train or ("train",))
    return Source(name, splits, {"split": test}, varies)


DOWNLOADS = {
    "cifar10": Source("CIFAR10"),
    "cifar100": Source("CIFAR100"),
    "mnist": Source("MNIST"),
    "fashion-mnist": Source("FashionMNIST"),
    "kmnist": Source("KMNIST"),
    "emnist": Source(
        "EMNIST",
        ({"split": "balanced", "train": True},),
        {"split": "balanced", "train": False},
    ),
    "usps": Source("USPS"),
    "svhn": by_split("SVHN"),
    "stl10": by_split("STL10"),
    "gtsrb": by_split("GTSRB", varies=True),
    "dtd": by_split("DTD", "train", "val", varies=True),
    "flowers102": by_split("Flowers102", "train", "val", varies=True),
    "food101": by_split("Food101", varies=True),
    "oxford-iiit-pet": by_split("OxfordIIITPet", "trainval", varies=True),
    "fgvc-aircraft": by_split("FGVCAircraft", "trainval", varies=True),
    "country211": by_split("Country211", "train", "valid", varies=True),
    "imagenette": by_split("Imagenette", varies=True, test="val"),
}
