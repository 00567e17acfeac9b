"""What a user is told about a data set."""

from dataclasses import replace

import numpy as np
import pytest

from fobench.data.dataset import DataSet
from fobench.data.images import chunks, count_constant
from fobench.data.notes import notes_on
from fobench.data.npz import open_npz
from fobench.data.parts import parts_of
from fobench.data.synthetic import open_synthetic
from fobench.experiment.expand import data_used
from fobench.experiment.options import DataOptions
from tests.data.test_data import arrays, written


def with_labels(train, test, classes: int) -> DataSet:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (len(each), 2, 2, 3), np.uint8) for each in (train, test)]
    names = tuple(f"class {number}" for number in range(classes))
    return DataSet("mine", images[0], np.array(train), images[1], np.array(test), names, "0")


@pytest.mark.parametrize("name", ["synthetic", "synthetic16"])
def test_generated_sets_need_no_note(name):
    assert notes_on(open_synthetic(name, 500, 100)) == []


def test_validation_images_of_a_file_are_said_not_to_be_used(tmp_path):
    own = {f"val_{each}": arrays()[f"test_{each}"] for each in ("images", "labels")}
    plain = open_npz(written(tmp_path / "plain.npz"))
    dataset = open_npz(written(tmp_path / "own.npz", **own))
    (note,) = notes_on(dataset)
    assert note == (
        "its file's val_images, val_labels are not used: validation images are held out of the "
        "training images (data.validation)"
    )
    assert dataset.fingerprint == plain.fingerprint
    assert notes_on(plain) == []


def test_other_arrays_of_a_file_are_named_but_not_all(tmp_path):
    others = {f"mask{number}": np.zeros(3) for number in range(9)}
    (note,) = notes_on(open_npz(written(tmp_path / "own.npz", **others)))
    assert note == "its file's mask0, mask1, mask2, mask3, mask4, … are not used"


def test_constant_images_are_counted():
    dataset = open_synthetic("synthetic", 40, 10)
    assert not any("constant" in note for note in notes_on(dataset))
    images = dataset.train_images.copy()
    images[[3, 7]] = (10, 20, 30)  # one colour, though not one value
    images[11, :, :, 0] = 5  # a constant channel is no constant image
    notes = notes_on(replace(dataset, train_images=images))
    assert notes[0] == "2 of 40 training images are constant, all pixels equal"
    blank = replace(dataset, test_images=np.zeros_like(dataset.test_images))
    assert "10 of 10 test images are constant, all pixels equal" in notes_on(blank)


def test_constant_images_are_counted_in_all_chunks(monkeypatch):
    monkeypatch.setattr("fobench.data.images.CHUNK_BYTES", 6)
    dataset = with_labels([0, 1] * 10, [0, 1], 2)
    images = np.zeros((20, 2, 2, 3), np.uint8)
    images[5, 0] = 1
    assert next(iter(chunks(images))).shape == (1, 2, 2, 3)
    notes = notes_on(replace(dataset, train_images=images))
    assert notes[0] == "19 of 20 training images are constant, all pixels equal"


def test_labels_with_gaps_build_outputs_that_are_not_needed():
    labels = [0, 45_000] * 10
    notes = notes_on(with_labels(labels, labels, 45_001))
    assert notes == [
        "without an image: 44,999 of 45,001 classes (class 1, class 2, class 3, class 4, class 5, "
        "…), though the network has an output for each"
    ]


def test_classes_of_the_test_images_alone_are_named():
    notes = notes_on(with_labels([0, 1] * 10, [0, 1, 2, 2], 3))
    assert notes == ["with test images, but without a training image: 1 of 3 classes (class 2)"]


def test_names_of_any_characters_stay_on_their_line():
    dataset = replace(with_labels([0, 1], [0, 1], 3), classes=("a", "b", "c\n\x1b[31md"))
    (note,) = notes_on(dataset)
    assert "1 of 3 classes (c\\n\\x1b[31md)" in note


def test_a_single_class_is_nothing_to_learn():
    assert notes_on(with_labels([0] * 10, [0, 0], 1)) == [
        "all training images are of one class (class 0): nothing to learn"
    ]


def test_the_notes_are_on_the_parts_that_are_used():
    """Ten images, of which the first two are trained on."""
    dataset = with_labels([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], [0, 1], 3)
    options = DataOptions(dataset=("mine",), train_size=2)
    assert notes_on(dataset) == []
    (note,) = notes_on(dataset, parts_of(dataset, data_used(options, dataset)))
    assert "without an image: 1 of 3 classes (class 2)" in note


@pytest.mark.parametrize("by", [1, -1], ids=["in order", "in another order"])
def test_a_sorted_set_is_listed_as_such(by):
    """As nobody knows yet which part of it a run will use."""
    labels = [label for label in (0, 1, 2)[::by] for _ in range(10)]
    assert notes_on(with_labels(labels, [0, 1, 2], 3)) == [
        "the training images are sorted by class: set data.shuffle = true where only a part of "
        "them is used"
    ]


def test_constant_images_are_counted_exactly():
    """Images that agree in the few pixels compared first are compared whole."""
    images = np.zeros((6, 8, 8, 3), np.uint8)
    images[1] = 7
    images[2, ..., 1] = 200  # one colour
    images[3, 1, 2, 0] = 1  # one other pixel, in one channel
    images[4] = np.arange(64).reshape(8, 8, 1)
    images[5, -1, -1] = 9
    assert count_constant(images) == 3
    assert count_constant(np.zeros((3, 1, 1, 1), np.uint8)) == 3


@pytest.mark.parametrize(
    ("name", "is_a_split"),
    [("val_images", True), ("validation_labels", True), ("valid_images", True), ("value", False)],
)
def test_only_a_sets_own_validation_split_is_explained(name, is_a_split):
    dataset = replace(with_labels([0, 1, 0, 1], [0, 1], 2), unused=(name,))
    (note,) = notes_on(dataset)
    assert ("data.validation" in note) == is_a_split
