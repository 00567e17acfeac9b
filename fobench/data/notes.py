"""What a user may not expect of a data set, but can want: notes, not errors."""

import re
from collections.abc import Iterator

import numpy as np

from fobench.data.dataset import DataSet
from fobench.data.parts import WHOLE, Parts, first_of, is_grouped, rarity_notes, some_of

CHUNK = 1000  # images compared at once, so that memory does not double
FEW = 5  # pixels of each image that are compared first
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
    for kind, images in (("training", dataset.train_images), ("test", dataset.test_images)):
        constant = count_constant(images)
        if constant:
            yield f"{constant:,} of {len(images):,} {kind} images are constant, all pixels equal"


def count_constant(images: np.ndarray) -> int:
    """How many of the images [N, H, W, C] have the same colour everywhere."""
    pixels = images.reshape(len(images), -1, images.shape[-1])
    # A few pixels tell most images apart, without reading the whole set.
    few = pixels[:, np.linspace(0, pixels.shape[1] - 1, FEW, dtype=int)]
    alike = np.flatnonzero((few == few[:, :1]).all(axis=(1, 2)))
    chunks = (pixels[alike[start : start + CHUNK]] for start in range(0, len(alike), CHUNK))
    return sum(int((each == each[:, :1]).all(axis=(1, 2)).sum()) for each in chunks)


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
