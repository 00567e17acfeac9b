"""Parts of a set: which images each gets, and which orders of a file are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fobench.data.dataset import DataSet, assemble, fixed_order
from fobench.data.parts import IMPROBABLE, improbably_rare, parts_of, rarity_notes
from fobench.data.parts import require_all_classes as require
from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.expand import data_used
from fobench.experiment.options import DataOptions


def labelled(train: np.ndarray, test: np.ndarray | None = None) -> DataSet:
    """A set of images of one pixel, with these labels."""
    train, test = (np.asarray(each) for each in (train, train if test is None else test))
    images = [np.zeros((len(each), 1, 1, 1), np.uint8) for each in (train, test)]
    classes = [f"class {number}" for number in range(1 + max(train.max(), test.max()))]
    return assemble("mine", images[0], train, images[1], test, classes)


def cut(dataset: DataSet, **options):
    return parts_of(dataset, data_used(DataOptions(dataset=("mine",), **options), dataset))


SORTED = np.repeat(np.arange(10), 40)


def test_a_set_sorted_by_class_is_refused_and_the_missing_classes_named():
    dataset = labelled(SORTED)
    with pytest.raises(UserError) as caught:
        require(dataset, cut(dataset, train_size=200, validation=100))
    message = str(caught.value)
    assert "mine seems to be sorted by class" in message
    assert (
        "the first 200 of the 400 training images have no image of 5 of 10 classes "
        "(class 5, class 6, class 7, class 8, class 9)"
    ) in message
    assert (
        "the last 100 of the 400 training images, held out for validation, have no image of 7 of "
        "10 classes (class 0, class 1, class 2, class 3, class 4, …)"
    ) in message
    assert "data.shuffle = true" in message


@pytest.mark.parametrize(
    "options", [{"train_size": 200}, {"validation": 100}, {"test_size": 100}, {"validation": 20}]
)
def test_each_part_alone_is_checked(options):
    dataset = labelled(SORTED)
    with pytest.raises(UserError, match="sorted by class"):
        require(dataset, cut(dataset, **options))
    shuffled = dataset.shuffled()
    require(shuffled, cut(shuffled, **options))


def test_a_sorted_set_that_is_used_whole_is_in_order():
    dataset = labelled(SORTED)
    require(dataset, cut(dataset))
    assert list(rarity_notes(dataset, cut(dataset))) == []


def test_a_part_with_a_few_images_of_a_class_is_worth_a_note():
    """The end of a sorted file is cut off, but not to the last image of a class."""
    dataset = labelled(np.repeat([0, 1], 200))
    parts = cut(dataset, train_size=201)
    require(dataset, parts)
    (note,) = rarity_notes(dataset, parts)
    assert "the first 201 of the 400 training images have 1 of the 200 images of 1 of 2" in note
    assert "data.shuffle" in note


# The images of each class: few or many, equal or not.
SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=60)


@given(SIZES, st.integers(0, 2**32 - 1), st.data())
def test_a_random_order_is_never_refused(sizes, seed, data):
    """However small the part, and however rare a class."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    dataset = labelled(labels)
    validation = data.draw(st.integers(0, max(0, len(labels) - 2)))
    test_size = data.draw(st.integers(1, len(labels)))
    parts = cut(dataset, validation=validation, test_size=test_size)
    require(dataset, parts)
    assert list(rarity_notes(dataset, parts)) == []


@given(st.integers(2, 20), st.integers(40, 100), st.data())
def test_a_sorted_order_is_refused_when_classes_are_cut_away(classes, size, data):
    """However small the part is."""
    dataset = labelled(np.repeat(np.arange(classes), size))
    # At least the last class is missing.
    train_size = data.draw(st.integers(2, (classes - 1) * size))
    with pytest.raises(UserError, match=rf"no image of \d+ of {classes} classes"):
        require(dataset, cut(dataset, train_size=train_size))


def test_small_random_parts_of_many_classes_are_accepted():
    """As of CIFAR-100: 100 images cannot hold all of 100 classes."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 500))
    dataset = labelled(labels)
    for size in (2, 10, 100, 300, 1000):
        parts = cut(dataset, train_size=size, validation=size, test_size=size)
        require(dataset, parts)
        assert list(rarity_notes(dataset, parts)) == []


def test_the_bound_holds():
    """Random parts fall below a bound of 1/20, in the place of 1/1,000,000, in less than 1/20."""
    random = np.random.default_rng(0)
    refused, whole = 0, np.array([3, 5, 8, 20, 60])
    labels = np.repeat(np.arange(5), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fobench.data.parts.IMPROBABLE", 0.05)
        for _ in range(2000):
            part = np.bincount(random.permutation(labels)[:20], minlength=5)
            refused += len(improbably_rare(whole, part, part * 96 < whole * 20)) > 0
    assert IMPROBABLE == 1e-6
    assert 0 < refused < 0.05 * 2000


def test_generated_sets_of_any_size_are_accepted():
    dataset = open_synthetic("synthetic", 60, 20)
    for options in ({"train_size": 2, "validation": 2, "test_size": 1}, {"validation": 58}):
        require(dataset, cut(dataset, **options))


def test_the_fixed_order_is_the_same_everywhere():
    """Pinned: another order would be other parts under the same run id."""
    assert fixed_order(10).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]


def test_a_shuffled_set_has_the_same_images_with_their_labels():
    dataset = open_synthetic("synthetic", 60, 20)
    shuffled = dataset.shuffled()
    assert shuffled.fingerprint == dataset.fingerprint
    for kind, count in (("train", 60), ("test", 20)):
        for array in ("images", "labels"):
            before, after = (getattr(each, f"{kind}_{array}") for each in (dataset, shuffled))
            assert np.array_equal(after, before[fixed_order(count)])
            assert not np.array_equal(after, before)


def test_a_small_part_of_a_sorted_set_is_refused_too():
    """Twenty images of one of two classes could be chance, but not in a sorted file."""
    options = {"train_size": 380, "validation": 20}
    dataset = labelled(np.repeat([0, 1], 200))
    with pytest.raises(UserError, match=r"last 20 of the 400 .* no image of 1 of 2 classes"):
        require(dataset, cut(dataset, **options))
    mixed = labelled(np.array([0, 1] * 190 + [1] * 20))
    require(mixed, cut(mixed, **options))
