"""Which images of a set each part of a run gets, and whether their order makes sense of that.

Parts are cut from the order of the file. If that order is not random, as in files sorted by class,
a part lacks classes or has far too few of their images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fobench.data.dataset import DataSet
from fobench.errors import UserError, printable
from fobench.experiment.run import DataUsed

# A random order is taken for another one at most once in a million parts.
IMPROBABLE = 1e-6
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Parts:
    """Slices: `train` and `validation` of a set's training images, `test` of its test images."""

    train: slice
    validation: slice
    test: slice


WHOLE = Parts(slice(None), slice(0), slice(None))


def parts_of(dataset: DataSet, used: DataUsed) -> Parts:
    """The first images for training, the last training images held out, the first for the test."""
    held_out = len(dataset.train_labels) - used.validation_images
    return Parts(slice(used.train_images), slice(held_out, None), slice(used.test_images))


def require_all_classes(dataset: DataSet, parts: Parts) -> None:
    """Raises UserError if parts lack classes that they would hardly lack in a random order."""
    lacking = []
    for part, labels, whole, counts in counts_of_parts(dataset, parts):
        missing = (whole > 0) & (counts == 0)
        if missing.any() and (is_grouped(labels) or len(improbably_rare(whole, counts, missing))):
            lacking.append(f"{part} have no image of {some_of(dataset.classes, missing)}")
    if lacking:
        raise UserError(
            f"[data] {printable(dataset.name)} seems to be sorted by class: "
            f"{', and '.join(lacking)}. Set data.shuffle = true, which cuts all parts from a "
            "random order, or shuffle the file"
        )


def rarity_notes(dataset: DataSet, parts: Parts) -> Iterator[str]:
    """A note on each part with far fewer images of some classes than a random order gives it."""
    for part, _, whole, counts in counts_of_parts(dataset, parts):
        rare = np.zeros(len(whole), bool)
        rare[improbably_rare(whole, counts, counts * whole.sum() < whole * counts.sum())] = True
        if rare.any():
            yield (
                f"{part} have {counts[rare].sum():,} of the {whole[rare].sum():,} images of "
                f"{some_of(dataset.classes, rare)}, far fewer than a random order would give "
                "them: data.shuffle = true cuts all parts from one"
            )


def is_grouped(labels: np.ndarray) -> bool:
    """Whether the images of each class follow each other, as they hardly would in a random order.

    Of the N!/∏ n_i! orders of labels with n_i of class i, k! are grouped, for k classes.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if np.count_nonzero(np.diff(labels)) >= len(counts):
        return False
    log_share = math.lgamma(len(counts) + 1) - math.lgamma(len(labels) + 1)
    return log_share + sum(math.lgamma(count + 1) for count in counts) < math.log(IMPROBABLE)


def counts_of_parts(
    dataset: DataSet, parts: Parts
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """For each part that is not empty: what it is, the labels [N] of all images that it is cut
    from, and the images of each class [classes] in all of them and in the part.
    """
    outputs = len(dataset.classes)
    for name, labels, part in (
        ("the first {} of the {} training images", dataset.train_labels, parts.train),
        (
            "the last {} of the {} training images, held out for validation,",
            dataset.train_labels,
            parts.validation,
        ),
        ("the first {} of the {} test images", dataset.test_labels, parts.test),
    ):
        cut = labels[part]
        if len(cut):
            yield (
                name.format(f"{len(cut):,}", f"{len(labels):,}"),
                labels,
                np.bincount(labels, minlength=outputs),
                np.bincount(cut, minlength=outputs),
            )


def improbably_rare(whole: np.ndarray, part: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The candidates of which a random order would hardly ever leave so few images in a part.

    `whole` and `part` [classes] count the images of each class, `candidates` [classes] are true
    for classes of which the part has less than its share. Empty if a random order explains it.

    Of a set of j classes with n of the N images, a random part of m images has x by the
    hypergeometric distribution; up to the mean, P(at most x) ≤ (x + 1)·P(x). As any j of the
    occurring classes could have been the rare ones, and j any number, the bound is multiplied by
    the number of sets of j classes and by the number of possible j (a union bound).
    """
    rarest = np.flatnonzero(candidates)
    # First by the share of their images that is in the part, then the largest.
    rarest = rarest[np.lexsort((-whole[rarest], part[rarest] / whole[rarest]))]
    occurring, total, size = np.count_nonzero(whole), int(whole.sum()), int(part.sum())
    images, found = whole[rarest].cumsum().tolist(), part[rarest].cumsum().tolist()
    best, number = math.log(IMPROBABLE), 0
    for j, (n, x) in enumerate(zip(images, found, strict=True), start=1):
        log_bound = (
            math.log(occurring)
            + log_binomial(occurring, j)
            + math.log(x + 1)
            + (log_binomial(n, x) + log_binomial(total - n, size - x) - log_binomial(total, size))
        )
        if log_bound < best:
            best, number = log_bound, j
    return rarest[:number]


def log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def some_of(classes: tuple[str, ...], chosen: np.ndarray) -> str:
    """How many of the classes are chosen, and the first of their names."""
    names = [classes[number] for number in np.flatnonzero(chosen)]
    return f"{len(names):,} of {len(classes):,} classes ({first_of(names)})"


def first_of(names: Sequence[str]) -> str:
    """Names, which a file can hold in any number and of any characters, for a message."""
    return ", ".join([*map(printable, names[:SHOWN]), *(["…"] if len(names) > SHOWN else [])])
