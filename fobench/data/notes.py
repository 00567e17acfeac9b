"""What a user may not expect of a data set, but can want: notes, not errors."""

import re
from collections.abc import Iterator

import numpy as np

from fobench.data.dataset import DataSet
from fobench.data.images import chunks, count_constant
from fobench.data.parts import WHOLE, Parts, first_of, is_grouped, rarity_notes, some_of

VALIDATION = re.compile(r"val(id|idation)?_(images|labels)")


def notes_on(dataset: DataSet, parts: Parts = WHOLE) -> list[str]:
    """Notes on a set, and on the parts of it that a run uses."""
    return [
        *unused_notes(dataset),
        *constant_notes(dataset),
        *label_notes(dataset, parts),
        *(order_notes(dataset) if parts is WHOLE else ()),
        *rarity_notes(dataset, parts),
    ]


def unused_notes(dataset: DataSet) -> Iterator[str]:
    if dataset.unused:
        held_out = any(map(VALIDATION.fullmatch, dataset.unused))
        instead = ": validation images are held out of the training images (data.validation)"
        yield f"its file's {first_of(dataset.unused)} are not used{instead if held_out else ''}"


def constant_notes(dataset: DataSet) -> Iterator[str]:
    both = (("training", dataset.train_images), ("test", dataset.test_images))
    counts = dataset.constant or [sum(map(count_constant, chunks(images))) for _, images in both]
    for (kind, images), constant in zip(both, counts, strict=True):
        if constant:
            yield f"{constant:,} of {len(images):,} {kind} images are constant, all pixels equal"


def order_notes(dataset: DataSet) -> Iterator[str]:
    for kind, labels in (("training", dataset.train_labels), ("test", dataset.test_labels)):
        if is_grouped(labels):
            yield (
                f"the {kind} images are sorted by class: set data.shuffle = true where only a part "
                "of them is used"
            )


def label_notes(dataset: DataSet, parts: Parts) -> Iterator[str]:
    outputs = len(dataset.classes)
    trained = np.bincount(dataset.train_labels[parts.train], minlength=outputs) > 0
    tested = np.bincount(dataset.test_labels[parts.test], minlength=outputs) > 0
    if np.count_nonzero(trained) == 1:
        (only,) = np.flatnonzero(trained)
        yield f"all training images are of one class ({dataset.classes[only]}): nothing to learn"
    if not (trained | tested).all():
        yield (
            f"without an image: {some_of(dataset.classes, ~(trained | tested))}, though the "
            "network has an output for each"
        )
    if (tested & ~trained).any():
        yield (
            "with test images, but without a training image: "
            f"{some_of(dataset.classes, tested & ~trained)}"
        )
