"""Folders of images: the images and classes of torchvision's ImageFolder, prepared once."""

import errno
import os
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from fobench.data import prepared
from fobench.data.find import open_first
from fobench.data.folder import open_folder
from fobench.data.images import FileImages, chunks
from fobench.data.prepared import with_place
from fobench.data.resize import resized
from fobench.errors import UserError

CLASSES = ("cat", "Dog", "éléphant")


def save(path, shape=(6, 6, 3), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pets(tmp_path):
    """Images of one size in colour, some of them in a folder below their class's."""
    folder = tmp_path / "pets"
    for part, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                below = "more" if number == 1 else "."
                save(folder / part / name / below / f"{number}.png", seed=10 * label + number)
    return folder


def fails(folder, root, size=None) -> str:
    with pytest.raises(UserError) as caught:
        open_folder(folder, root, size)
    assert not root.exists() or list(root.iterdir()) == []
    return str(caught.value)


def test_a_link_to_a_folder_shares_its_file(pets, tmp_path):
    root, link = tmp_path / "root", tmp_path / "link"
    link.symlink_to(pets)
    assert open_folder(pets, root, 4).name == "pets-4px"
    assert open_folder(link, root, 4).name == "link-4px", "by the name that is given, as run ids"
    assert [path.name for path in root.glob("*.npz")] == [f"{with_place('pets-4px', pets)}.npz"]


@pytest.mark.parametrize("size", [None, 4])
def test_the_images_and_classes_are_those_of_image_folder(pets, tmp_path, size):
    save(pets / "train" / "cat" / "grey.JPG", (9, 7) if size else (6, 6))
    (pets / "train" / "cat" / "notes.txt").write_text("no image")
    (pets / "train" / "cat" / "._hidden.png").write_text("no image")
    (pets / "train" / ".hidden").mkdir()
    save(pets / "train" / "cat" / ".checkpoints" / "0.png")
    dataset = open_folder(pets, tmp_path / "root", size)
    assert dataset.name == f"pets-{size or 6}px"
    (pets / "train" / "cat" / "._hidden.png").unlink()
    (pets / "train" / ".hidden").rmdir()
    shutil.rmtree(pets / "train" / "cat" / ".checkpoints")
    for part in ("train", "test"):
        expected = ImageFolder(pets / part)
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        assert dataset.classes == tuple(expected.classes)
        assert labels.tolist() == expected.targets
        for image, (original, _) in zip(images, expected, strict=True):
            original = resized(original, size) if size else original
            assert np.array_equal(image, np.asarray(original))


def test_a_folder_that_cannot_be_read_is_not_left_out(pets, tmp_path, monkeypatch):
    """Root reads any folder, so that reading it is made to fail."""
    scandir, lost = os.scandir, pets / "train" / "cat" / "more"

    def fail(path):
        if os.fspath(path) == os.fspath(lost):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    assert f"{lost} cannot be read (Permission denied)" in fails(pets, tmp_path / "root")


def test_a_folder_is_prepared_once_until_something_in_it_changes(pets, tmp_path, caplog):
    caplog.set_level("INFO")
    root, preparing = tmp_path / "root", "preparing"
    first = open_folder(pets, root, None)
    assert [each.stem for each in root.iterdir()] == [with_place("pets-6px", pets)]
    assert open_folder(pets, root, None).fingerprint == first.fingerprint
    assert caplog.text.count(preparing) == 1
    os.utime(pets / "test" / "cat" / "0.png", ns=(1, 1))
    assert open_folder(pets, root, None).fingerprint == first.fingerprint
    assert caplog.text.count(preparing) == 2
    save(pets / "train" / "cat" / "new.png")
    assert len(open_folder(pets, root, None).train_labels) == 13
    assert caplog.text.count(preparing) == 3


def test_folders_of_one_name_do_not_share_a_file(pets, tmp_path, monkeypatch, caplog):
    """Nor does preparing one end a run that uses the other, or the same folder, from its file."""
    caplog.set_level("INFO")
    monkeypatch.setattr("fobench.data.npz.available_host_memory", lambda: (0, 1))
    root, others = tmp_path / "root", tmp_path / "elsewhere" / "pets"
    for path in pets.rglob("*.png"):
        save(others / path.relative_to(pets), seed=99)
    expected = open_folder(pets, None, None)
    first, second = open_folder(pets, root, None), open_folder(others, root, None)
    assert first.name == second.name == "pets-6px"
    assert len({expected.fingerprint, first.fingerprint, second.fingerprint}) == 2
    os.utime(pets / "test" / "cat" / "0.png", ns=(1, 1))
    open_folder(pets, root, None)
    assert len(list(root.glob("*.npz"))) == 2
    assert caplog.text.count("preparing") == 3
    assert np.array_equal(next(chunks(first.test_images[2:])), expected.test_images[2:])


def test_val_is_tested_on_if_test_has_no_classes(pets, tmp_path):
    (pets / "test").rename(pets / "val")
    save(pets / "test" / "unlabelled.png")
    dataset = open_folder(pets, tmp_path / "root", None)
    assert (len(dataset.test_labels), dataset.unused) == (6, ())
    for name in CLASSES:
        save(pets / "test" / name / "0.png")
    dataset = open_folder(pets, tmp_path / "root", None)
    assert (len(dataset.test_labels), dataset.unused) == (3, ("val_images",))


def test_images_of_other_shapes_than_squares_keep_theirs(pets, tmp_path):
    for path in pets.rglob("*.png"):
        save(path, (6, 8, 3))
    dataset = open_folder(pets, tmp_path / "root", None)
    assert (dataset.name, dataset.image_shape) == ("pets-6x8px", (6, 8, 3))


def test_images_of_several_sizes_need_one(pets, tmp_path):
    save(pets / "test" / "Dog" / "0.png", (5, 6, 3))
    message = fails(pets, tmp_path / "root")
    assert "test/Dog/0.png is 6x5 and the first one 6x6 pixels" in message
    assert message.endswith("set data.image_size")


def test_unreadable_images_are_named_all_at_once(pets, tmp_path):
    (pets / "train" / "cat" / "0.png").write_bytes(b"no image")
    whole = (pets / "test" / "Dog" / "0.png").read_bytes()
    (pets / "test" / "Dog" / "0.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((6, 6), np.uint16)).save(pets / "test" / "cat" / "0.png")
    message = fails(pets, tmp_path / "root", 4)
    assert message.startswith(f"{pets}: 3 unreadable images, ")
    for name in ("train/cat/0.png (", "test/Dog/0.png (", "test/cat/0.png (more than 8 bits"):
        assert name in message
    (pets / "train" / "Dog" / "0.png").write_bytes(b"no image")
    assert "Dog/0.png (cannot identify image" in fails(pets, tmp_path / "root")


def test_classes_that_are_empty_or_in_one_part_only_are_named(pets, tmp_path):
    for path in (pets / "test" / "cat").rglob("*.png"):
        path.unlink()
    (pets / "test" / "wolf").mkdir()
    (pets / "train" / "Dog").rename(pets / "Dog")
    message = fails(pets, tmp_path / "root")
    assert f"{pets}/train lacks the classes Dog, wolf" in message
    assert f"{pets}/test has no image of cat, wolf: put images there (.jpg .jpeg" in message


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("train",), "has no classes in train: a folder of images has train/ and test/ or val/"),
        (("test",), "has no classes in test or val: "),
        (("train", "test"), "has no classes in train and in test or val: "),
    ],
)
def test_a_folder_without_its_parts_is_told_the_layout(pets, tmp_path, missing, message):
    for name in missing:
        (pets / name).rename(tmp_path / name)
    assert message in fails(pets, tmp_path / "root")


def test_a_folder_is_given_by_path_or_by_its_name_in_the_data_root(pets, tmp_path):
    assert open_first([str(pets)], tmp_path / "root").name == "pets-6px"
    assert open_first([f"{pets}/"], tmp_path / "root", image_size=4).name == "pets-4px"
    assert open_first(["pets"], tmp_path).name == "pets-6px"


def test_without_a_data_root_images_are_prepared_in_memory(pets, caplog):
    assert len(open_folder(pets, None, None).train_images) == 12
    assert "prepared in memory" in caplog.text


def test_images_that_do_not_fit_into_memory_are_not_prepared_there(pets, monkeypatch):
    monkeypatch.setattr(prepared, "available_host_memory", lambda: (18 * 6 * 6 * 3 - 1, 10**9))
    monkeypatch.setattr("fobench.data.folder.pixels_of", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match="of images do not fit into memory: give a --data"):
        open_folder(pets, None, None)


def test_a_full_disk_is_noticed_before_images_are_decoded(pets, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert len(open_folder(pets, tmp_path / "root", None).train_images) == 12
    assert "cannot be written (No space left on device)" in caplog.text
    assert "preparing" not in caplog.text
    assert "prepared in memory" in caplog.text


def test_a_large_folder_is_written_piece_by_piece_and_stays_in_its_file(
    pets, tmp_path, monkeypatch
):
    whole = open_folder(pets, tmp_path / "one", None)
    monkeypatch.setattr("fobench.data.folder.AT_ONCE", 5)
    monkeypatch.setattr("fobench.data.npz.available_host_memory", lambda: (0, 1))
    left = open_folder(pets, tmp_path / "two", None)
    assert isinstance(left.train_images, FileImages)
    assert left.fingerprint == whole.fingerprint


def test_how_far_the_preparation_is_is_logged(pets, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("fobench.data.folder.AT_ONCE", 5)
    monkeypatch.setattr(prepared, "LOG_SECONDS", -1)
    open_folder(pets, tmp_path / "root", None)
    assert "train images: 10 of 12" in caplog.text


def test_two_processes_prepare_a_folder_once(pets, tmp_path, monkeypatch, caplog):
    """The second waits for the first, and finds its file."""
    caplog.set_level("INFO")
    monkeypatch.setattr(prepared, "POLL_SECONDS", 0.01)
    root = tmp_path / "root"
    root.mkdir()
    with prepared.folder_locked(root):
        second = threading.Thread(target=open_folder, args=(pets, root, None))
        second.start()
        while "waiting for another process" not in caplog.text:
            assert second.is_alive()
    second.join()
    assert [each.stem for each in root.iterdir()] == [with_place("pets-6px", pets)]
