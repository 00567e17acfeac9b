"""Images resized once, into a file that is used until its source changes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from fobench.data import download, prepared
from fobench.data.find import open_first
from fobench.data.npz import open_npz
from fobench.data.prepared import with_place
from fobench.data.resize import resized, resized_array
from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from tests.data.test_data import arrays, written


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("shape", [(32, 32), (31, 50), (77, 33), (100, 640)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_are_those_of_torchvisions_resize_and_centre_crop(size, shape, mode):
    channels = [3] if mode == "RGB" else []
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, *channels), np.uint8)
    image = Image.fromarray(pixels, mode)
    expected = Compose([Resize(size), CenterCrop(size)])(image)
    assert np.array_equal(np.asarray(resized(image, size)), np.asarray(expected))
    one = resized_array(size, pixels.reshape(*shape, -1))
    assert np.array_equal(one, np.asarray(expected).reshape(size, size, -1))


def test_a_set_is_resized_once_beside_its_file(tmp_path, caplog):
    caplog.set_level("INFO")
    path = written(tmp_path / "own.npz")
    dataset = open_first([str(path)], tmp_path / "root", image_size=4)
    assert dataset.name == "own-4px"
    assert dataset.image_shape == (4, 4, 3)
    for index in (0, 11):
        expected = resized_array(4, arrays()["train_images"][index])
        assert np.array_equal(dataset.train_images[index], expected)
    assert dataset.classes == open_npz(path).classes
    assert np.array_equal(dataset.test_labels, arrays()["test_labels"])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["own-4px.npz", "own.npz"]
    assert caplog.text.count("preparing") == 1
    again = open_first([str(path)], tmp_path / "root", image_size=4)
    assert (
        again.fingerprint == dataset.fingerprint == open_npz(tmp_path / "own-4px.npz").fingerprint
    )
    assert again.unused == ()
    assert caplog.text.count("preparing") == 1


def test_a_changed_source_is_noticed(tmp_path):
    """By its content: size and time of change can be equal."""
    path = written(tmp_path / "own.npz")
    os.utime(path, ns=(1, 1))
    first = open_first([str(path)], tmp_path, image_size=4)
    written(path, train_images=255 - arrays()["train_images"])
    os.utime(path, ns=(1, 1))
    second = open_first([str(path)], tmp_path, image_size=4)
    assert second.fingerprint != first.fingerprint


def test_images_of_that_size_stay_as_they_are(tmp_path):
    written(tmp_path / "own.npz")
    assert open_first(["own"], tmp_path, image_size=8).name == "own"
    assert [each.name for each in tmp_path.iterdir()] == ["own.npz"]


def test_a_generated_set_is_resized_in_memory(tmp_path):
    dataset = open_first(["synthetic"], tmp_path, 20, 10, image_size=64)
    assert (dataset.name, dataset.image_shape) == ("synthetic-64px", (64, 64, 3))
    original = open_synthetic("synthetic", 20, 10)
    assert np.array_equal(dataset.test_images[3], resized_array(64, original.test_images[3]))
    assert dataset.fingerprint != original.fingerprint
    assert open_first(["synthetic"], tmp_path, 20, 10, image_size=32).name == "synthetic"
    assert list(tmp_path.iterdir()) == []


def test_a_generated_set_that_does_not_fit_is_not_resized(tmp_path, monkeypatch):
    """Linux would kill the process that fills memory which there is not."""
    monkeypatch.setattr("fobench.data.prepared.available_host_memory", lambda: (30 * 3 * 64**2, 0))
    assert open_first(["synthetic"], tmp_path, 20, 10, image_size=64).name == "synthetic-64px"
    with pytest.raises(UserError, match=r"do not fit into memory: lower data\.image_size, data"):
        open_first(["synthetic"], tmp_path, 21, 10, image_size=64)


def test_images_that_stay_in_their_file_are_resized_alike(tmp_path, monkeypatch):
    path = written(tmp_path / "own.npz")
    expected = open_first([str(path)], None, image_size=4).fingerprint
    (tmp_path / "own-4px.npz").unlink()
    monkeypatch.setattr("fobench.data.npz.available_host_memory", lambda: (0, 1))
    monkeypatch.setattr("fobench.data.images.CHUNK_BYTES", 500)
    assert open_first([str(path)], None, image_size=4).fingerprint == expected


@pytest.mark.parametrize(
    ("refused", "where"), [((), "here"), (("here",), "root"), (("here", "root"), None)]
)
def test_where_a_folder_cannot_be_written_the_next_is_used_then_memory(
    tmp_path, monkeypatch, caplog, refused, where
):
    """Each refusal is a line in the log, and the images are the same."""
    scratch_folder = prepared.scratch_folder

    def guarded(folder: Path, name: str):
        if folder.name in refused:
            raise PermissionError(13, "Permission denied")
        return scratch_folder(folder, name)

    monkeypatch.setattr(prepared, "scratch_folder", guarded)
    (tmp_path / "here").mkdir()
    path = written(tmp_path / "here" / "own.npz")
    dataset = open_first([str(path)], tmp_path / "root", image_size=4)
    assert np.array_equal(dataset.train_images[2], resized_array(4, arrays()["train_images"][2]))
    assert dataset.name == "own-4px"
    names = {"here": "own-4px", "root": with_place("own-4px", path)}
    found = [(each.parent.name, each.stem) for each in tmp_path.rglob("own-4px*.npz")]
    assert found == ([(where, names[where])] if where else [])
    assert caplog.text.count("cannot be written (Permission denied)") == len(refused)
    assert ("prepared in memory" in caplog.text) == (where is None)


def test_a_file_that_fobench_did_not_prepare_is_not_replaced(tmp_path):
    path = written(tmp_path / "own.npz")
    other = written(tmp_path / "own-4px.npz")
    before = other.read_bytes()
    with pytest.raises(UserError, match=r"own-4px\.npz is in the way"):
        open_first([str(path)], tmp_path, image_size=4)
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    "source", ["folder /my/imagenette 0123, 8x8, version 1", "download of dtd"]
)
def test_what_was_prepared_from_something_else_is_neither_used_nor_replaced(tmp_path, source):
    """As earlier versions prepared a folder under the name of a download."""
    path = written(tmp_path / "imagenette-8px.npz", source=np.array(source))
    before = path.read_bytes()
    message = rf"imagenette-8px\.npz is in the way: .* something else \({source}\)"
    with pytest.raises(UserError, match=message):
        open_first(["imagenette"], tmp_path, image_size=8)
    with pytest.raises(UserError, match=message):
        download.prepare("imagenette", tmp_path, 8)
    written(tmp_path / "imagenette.npz")
    path.rename(tmp_path / "imagenette-4px.npz")
    with pytest.raises(UserError, match=message.replace("8", "4", 1)):
        open_first(["imagenette"], tmp_path, image_size=4)
    assert (tmp_path / "imagenette-4px.npz").read_bytes() == before


def test_a_set_prepared_in_a_size_is_found_by_its_name(tmp_path):
    """As of one whose images vary in size, which is never prepared in another way."""
    written(tmp_path / "food101-8px.npz")
    assert open_first(["food101"], tmp_path, image_size=8).name == "food101-8px"
    with pytest.raises(UserError, match="`fobench data NAME --image-size 9`"):
        open_first(["food101"], tmp_path, image_size=9)
