"""Data sets: generated, read from files, put on the device, cropped and flipped."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fobench.data import split, synthetic
from fobench.data.find import open_first
from fobench.data.npz import ARRAYS, open_npz
from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import data_used, expand
from fobench.experiment.options import DataOptions

CPU = torch.device("cpu")


def arrays(train: int = 12, test: int = 6, shape=(8, 8, 3), classes: int = 4) -> dict:
    random = np.random.default_rng(0)
    return {
        "train_images": random.integers(0, 256, (train, *shape), dtype=np.uint8),
        "train_labels": random.integers(0, classes, train),
        "test_images": random.integers(0, 256, (test, *shape), dtype=np.uint8),
        "test_labels": random.integers(0, classes, test),
        "classes": np.array([f"class {number}" for number in range(classes)]),
    }


def written(path, **changes):
    np.savez(
        path, **{key: value for key, value in (arrays() | changes).items() if value is not None}
    )
    return path


def loaded(dataset, augment="random", **options):
    used = data_used(DataOptions(dataset=(dataset.name,), augment=augment, **options), dataset)
    return split.load(dataset, used, augment, CPU)


def test_synthetic_is_the_same_everywhere():
    """Pinned: other bytes would be another data set, not to be mixed with this one's results."""
    assert open_synthetic("synthetic", 600, 200).fingerprint == "2b73e2ef95a695fd"
    assert open_synthetic("synthetic16", 600, 200).fingerprint == "a9d92e8b7c5f8568"


def test_synthetic_images_do_not_depend_on_how_many_are_made():
    few, few_labels = synthetic.generate("synthetic", "train", 30)
    many, many_labels = synthetic.generate("synthetic", "train", 700)
    assert np.array_equal(few, many[:30])
    assert np.array_equal(few_labels, many_labels[:30])
    assert not np.array_equal(few, synthetic.generate("synthetic", "test", 30)[0])


def test_synthetic_has_ten_classes_of_like_size():
    images, labels = synthetic.generate("synthetic", "train", 5000)
    assert images.shape == (5000, 32, 32, 3)
    assert images.dtype == np.uint8
    counts = np.bincount(labels)
    assert len(counts) == len(synthetic.CLASSES) == 10
    assert counts.min() > 400


def test_a_prepared_file_is_read_as_written(tmp_path):
    content = arrays()
    dataset = open_npz(written(tmp_path / "own.npz"))
    assert dataset.name == "own"
    assert np.array_equal(dataset.train_images, content["train_images"])
    assert np.array_equal(dataset.test_labels, content["test_labels"])
    assert dataset.classes == tuple(content["classes"])


def test_grey_images_and_labels_in_a_column_are_read_too(tmp_path):
    grey = arrays(shape=(8, 8))
    grey["train_labels"] = grey["train_labels"][:, None].astype(np.uint8)
    dataset = open_npz(written(tmp_path / "grey.npz", **grey))
    assert dataset.image_shape == (8, 8, 1)
    assert dataset.train_labels.shape == (12,)
    assert dataset.train_labels.dtype == np.int64


def test_the_fingerprint_is_of_the_content_not_of_the_file(tmp_path):
    np.savez_compressed(tmp_path / "packed.npz", **arrays())
    one = open_npz(written(tmp_path / "plain.npz"))
    packed = open_npz(tmp_path / "packed.npz")
    changed = arrays()["train_images"]
    changed[3, 4, 5, 1] ^= 1
    other = open_npz(written(tmp_path / "other.npz", train_images=changed))
    assert one.fingerprint == packed.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "lacks the arrays test_labels"),
        ({"train_images": arrays()["train_images"].astype(np.float32)}, "uint8 is required"),
        ({"train_images": np.zeros((12, 8, 8, 4), np.uint8)}, r"1 or 3\] is required"),
        ({"train_images": np.zeros((12, 9, 9, 3), np.uint8)}, "images differ in shape"),
        ({"train_images": np.zeros((0, 8, 8, 3), np.uint8)}, "holds no image"),
        ({"train_images": np.uint8(3)}, r"the shape \(\)"),
        ({"train_labels": np.arange(12)}, "range from 0 to 11, not 0 to 3"),
        ({"test_labels": -np.ones(6, np.int64)}, "range from -1 to -1"),
        ({"train_labels": np.full(12, 10**12), "classes": None}, "not 0 to 65535"),
        ({"train_labels": np.zeros(11, np.int64)}, r"\(11,\) do not fit images \(12, 8, 8, 3\)"),
        ({"train_labels": np.zeros(12)}, r"integers \[N\] are required"),
        ({"train_labels": np.array(["cat"] * 12), "classes": None}, r"integers \[N\] are required"),
        ({"classes": np.array(10)}, r"classes has the shape \(\)"),
        ({"classes": np.array([{}], dtype=object)}, "not a readable prepared data set"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, changes, message):
    path = written(tmp_path / "bad.npz", **changes)
    with pytest.raises(UserError, match=message) as caught:
        open_npz(path)
    assert str(path) in str(caught.value)


def test_an_archive_of_other_things_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key in ARRAYS:
            archive.writestr(f"{key}.npy", b"no array")
    with pytest.raises(UserError, match="train_images are"):
        open_npz(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UserError, match="not a readable prepared data set"):
        open_npz(tmp_path / "one.npy")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, share):
    path = written(tmp_path / "cut.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="not a readable prepared data set"):
        open_npz(path)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_with_damaged_bytes_is_read_right_or_refused(tmp_path_factory, damages):
    """Never a traceback, and never other images than were written."""
    folder = tmp_path_factory.mktemp("damaged")
    path = written(folder / "damaged.npz", **arrays(train=50))
    sound = open_npz(path).fingerprint
    content = bytearray(path.read_bytes())
    for place, value in damages:
        content[place % len(content)] = value
    path.write_bytes(content)
    for in_file in (False, True):
        try:
            assert open_npz(path, in_file).fingerprint == sound
        except UserError as error:
            assert str(path) in str(error)


def test_the_first_set_that_can_be_had_is_taken(tmp_path):
    names = ("cifar10", "synthetic")
    assert open_first(names, tmp_path, 20, 10).name == "synthetic"
    written(tmp_path / "cifar10.npz")
    assert open_first(names, tmp_path, 20, 10).name == "cifar10"
    assert open_first([str(tmp_path / "cifar10.npz")], tmp_path).name == "cifar10"
    with pytest.raises(UserError, match="fobench data"):
        open_first(("cifar100",), tmp_path)
    with pytest.raises(UserError, match="cannot be accessed"):
        open_first(("x" * 5000,), tmp_path)


def test_held_out_images_are_the_last_and_not_trained_on():
    dataset = open_synthetic("synthetic", 50, 20)
    split = loaded(dataset, augment="none", train_size=30, validation=10, test_size=5)
    assert (len(split.train), len(split.validation), len(split.test)) == (30, 10, 5)
    assert torch.equal(split.train.labels, torch.from_numpy(dataset.train_labels[:30]))
    assert torch.equal(split.validation.labels, torch.from_numpy(dataset.train_labels[40:]))
    assert torch.equal(split.validation.images, torch.from_numpy(dataset.train_images[40:]))
    assert torch.equal(split.test.images, torch.from_numpy(dataset.test_images[:5]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 60}, "asks for 60 and validation for 0 of the 50"),
        ({"train_size": 45, "validation": 10}, "asks for 45 and validation for 10 of the 50"),
        ({"validation": 49}, "asks for the rest and validation for 49 of the 50"),
        ({"validation": 59}, "asks for the rest and validation for 59"),
        ({"test_size": 21}, "has 20 test images"),
    ],
)
def test_more_images_than_there_are_is_an_error(tiny, options, message):
    experiment = replace(load(tiny), data=DataOptions(dataset=("synthetic",), **options))
    with pytest.raises(UserError, match=message):
        expand(experiment, open_synthetic("synthetic", 50, 20))


def test_training_pixels_are_normalised_per_channel():
    split = loaded(open_synthetic("synthetic", 200, 20), augment="none").train
    images, _ = split.batch(torch.arange(200))
    assert images.shape == (200, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_a_view_is_a_crop_of_the_padded_image_flipped_or_not():
    """Against a slice-and-flip of each image on its own."""
    dataset = open_synthetic("synthetic", 40, 10)
    split = loaded(dataset).train
    view = split.draw_view(seed=3, number=1)
    indices = torch.randperm(40)[:15]
    images, labels = split.batch(indices, view)
    for image, index in zip(images, indices.tolist(), strict=True):
        padded = np.pad(dataset.train_images[index], ((4, 4), (4, 4), (0, 0)))
        top, left = int(view.top[index]), int(view.left[index])
        crop = padded[top : top + 32, left : left + 32]
        crop = crop[:, ::-1] if view.flip[index] else crop
        expected = (torch.from_numpy(crop.copy()).float() - split.mean) / split.std
        assert torch.equal(image.permute(1, 2, 0), expected)
    assert torch.equal(labels, split.labels[indices])


def test_without_a_view_images_are_whole_though_stored_with_padding():
    dataset = open_synthetic("synthetic", 40, 10)
    indices = torch.tensor([5, 0, 39])
    augmented, plain = loaded(dataset).train, loaded(dataset, augment="none").train
    assert torch.equal(augmented.batch(indices)[0], plain.batch(indices)[0])
    assert plain.draw_view(0, 0) is None


def test_views_derive_from_seed_and_number_alone():
    split = loaded(open_synthetic("synthetic", 500, 10)).train
    torch.manual_seed(1)
    one = split.draw_view(0, 2)
    torch.manual_seed(2)
    again = split.draw_view(0, 2)
    assert torch.equal(one.top, again.top)
    assert torch.equal(one.flip, again.flip)
    for other in (split.draw_view(0, 3), split.draw_view(1, 2)):
        assert not torch.equal(one.top, other.top)
    assert set(one.top.tolist()) == set(one.left.tolist()) == set(range(9))
    assert 0.4 < one.flip.float().mean() < 0.6
