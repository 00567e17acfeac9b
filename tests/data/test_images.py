"""Images that stay in their file: the same pixels, fingerprints and notes as those of arrays."""

import json
import os
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from fobench.data import npz
from fobench.data.dataset import fixed_order
from fobench.data.images import FileImages, chunks, gather
from fobench.data.notes import notes_on
from fobench.data.npz import open_npz
from fobench.data.split import pixel_statistics
from fobench.errors import UserError
from tests.data.test_data import arrays, written


def pixels(images) -> np.ndarray:
    return np.concatenate([piece.copy() for piece in chunks(images)])


def read_at(images, indices) -> np.ndarray:
    out = np.empty((len(indices), *images.shape[1:]), np.uint8)
    gather(images, np.asarray(indices, np.int64), out)
    return out


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A set of which several chunks are read."""
    monkeypatch.setattr("fobench.data.images.CHUNK_BYTES", 1000)
    return written(tmp_path / "own.npz")


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8)])
def test_images_in_a_file_are_those_of_the_arrays(tmp_path, path, shape):
    written(path, **arrays(shape=shape))
    whole, left = open_npz(path, in_file=False), open_npz(path, in_file=True)
    assert isinstance(left.train_images, FileImages)
    assert left.train_images.shape == whole.train_images.shape
    assert left.fingerprint == whole.fingerprint
    assert left.image_shape == whole.image_shape
    for indices in ([5], [0, 1, 2, 7, 7, 3], list(range(11, -1, -1)), []):
        assert np.array_equal(read_at(left.train_images, indices), whole.train_images[indices])
    for part in (slice(4), slice(3, None), slice(0)):
        assert len(left.train_images[part]) == len(whole.train_images[part])
    assert np.array_equal(pixels(left.train_images[3:]), whole.train_images[3:])
    sent = pickle.loads(pickle.dumps(left.test_images))
    assert np.array_equal(pixels(sent), whole.test_images)
    for one, other in zip(
        pixel_statistics(left.train_images), pixel_statistics(whole.train_images), strict=True
    ):
        assert torch.equal(one, other)


def test_shuffled_images_in_a_file_are_not_read_but_in_their_new_order(path):
    whole, left = open_npz(path, in_file=False).shuffled(), open_npz(path, in_file=True).shuffled()
    assert isinstance(left.train_images, FileImages)
    assert list(left.train_images.numbers) == list(fixed_order(12))
    assert np.array_equal(pixels(left.train_images), whole.train_images)
    assert np.array_equal(left.train_labels, whole.train_labels)


def test_only_images_that_are_large_for_the_memory_stay_in_the_file(path, monkeypatch):
    size = path.stat().st_size
    for free, kind in ((4 * size, np.ndarray), (4 * size - 4, FileImages)):
        monkeypatch.setattr(npz, "available_host_memory", lambda free=free: (free, 10**12))
        assert isinstance(open_npz(path).train_images, kind)
    np.savez_compressed(path, **arrays())
    pixels = 18 * 8 * 8 * 3 + 2 * 128  # with the headers of both arrays
    monkeypatch.setattr(npz, "available_host_memory", lambda: (pixels, 10**12))
    assert isinstance(open_npz(path).train_images, np.ndarray)
    # Linux would grant the memory, and kill the process.
    monkeypatch.setattr(npz, "available_host_memory", lambda: (pixels - 1, 10**12))
    with pytest.raises(UserError, match=r"own\.npz is too large for this machine.s memory"):
        open_npz(path)


def test_facts_about_a_large_file_are_found_out_once_and_kept_beside_it(path):
    constant = arrays()["train_images"]
    constant[4:7] = 9
    written(path, train_images=constant)
    expected = open_npz(path, in_file=False)
    first = open_npz(path, in_file=True)
    assert first.constant == (3, 0)
    assert notes_on(first) == notes_on(expected) != []
    assert notes_on(replace(first, constant=None)) == notes_on(expected)
    beside = path.with_name(".own.npz.fingerprint")
    kept = json.loads(beside.read_bytes())
    beside.write_text(json.dumps(kept | {"fingerprint": "kept"}))
    assert open_npz(path, in_file=True).fingerprint == "kept"
    # Another file, which only its content and its inode tell apart.
    before, changed = path.stat(), 255 - constant
    other = written(path.with_name("other.npz"), train_images=changed)
    os.utime(other, ns=(1, before.st_mtime_ns))
    assert other.stat().st_size == before.st_size
    other.rename(path)
    assert open_npz(path, in_file=True).fingerprint == open_npz(path, in_file=False).fingerprint
    beside.write_text("damaged")
    assert open_npz(path, in_file=True).fingerprint == open_npz(path, in_file=False).fingerprint


def test_statistics_of_a_part_are_found_out_once_and_kept_beside_the_file(path):
    dataset, beside = open_npz(path, in_file=True), path.with_name(".own.npz.statistics")
    parts = [dataset.train_images[:7], dataset.shuffled().train_images[:7], dataset.test_images]
    found = [pixel_statistics(part) for part in parts]
    kept = json.loads(beside.read_bytes())
    assert len(kept["parts"]) == 3
    for part, (mean, std) in zip(parts, found, strict=True):
        expected = pixel_statistics(pixels(part))
        again = pixel_statistics(part)
        for one, other, third in zip((mean, std), expected, again, strict=True):
            assert torch.equal(one, other)
            assert torch.equal(one, third)
    made_up = {name: [[1.0] * 3, [2.0] * 3] for name in kept["parts"]}
    beside.write_text(json.dumps(kept | {"parts": made_up}))
    assert pixel_statistics(parts[0])[1].tolist() == [2.0] * 3
    for damaged in (kept | {"parts": {name: [[1.0], [2.0]] for name in made_up}}, [], "x"):
        beside.write_text(json.dumps(damaged))
        assert torch.equal(pixel_statistics(parts[0])[0], found[0][0])
    written(path, train_images=255 - arrays()["train_images"])
    changed = open_npz(path, in_file=True).train_images[:7]
    assert torch.equal(pixel_statistics(changed)[0], pixel_statistics(pixels(changed))[0])


def test_a_folder_that_cannot_be_written_only_costs_what_is_kept(path, monkeypatch):
    def refused(path, content):
        raise UserError("read-only")

    for module in ("archive", "statistics"):
        monkeypatch.setattr(f"fobench.data.{module}.write_json", refused)
    dataset, expected = open_npz(path, in_file=True), open_npz(path, in_file=False)
    assert dataset.fingerprint == expected.fingerprint
    one, other = (pixel_statistics(each.train_images)[0] for each in (dataset, expected))
    assert torch.equal(one, other)


def test_damaged_pixels_are_noticed_when_they_are_first_read(path):
    images = arrays(train=100)
    content = bytearray(written(path, **images).read_bytes())
    content[content.index(images["train_images"].tobytes()) + 7000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"own\.npz is not a readable .*checksum of train_images"):
        open_npz(path, in_file=True)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short_or_replaced_during_a_run_is_a_message(path, share):
    images = open_npz(path, in_file=True).test_images
    opened, later = pickle.loads(pickle.dumps(images)), pickle.loads(pickle.dumps(images))
    read_at(opened, [0])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole)) - 1000])
    for images, index in ((opened, 5), (later, 0)):
        with pytest.raises(UserError, match=r"own\.npz was changed while it was used"):
            read_at(images, [index])


def test_a_file_that_is_replaced_is_read_on_as_it_was(path, tmp_path):
    """Also by parts that are first read afterwards; but no other process opens the new one."""
    dataset, expected = open_npz(path, in_file=True), open_npz(path, in_file=False)
    sent = pickle.dumps(dataset)
    other = written(tmp_path / "other.npz", train_images=255 - expected.train_images)
    os.utime(other, ns=(1, 1))
    other.rename(path)
    assert np.array_equal(pixels(dataset.train_images), expected.train_images)
    assert np.array_equal(
        pixels(dataset.shuffled().test_images[2:]), expected.shuffled().test_images[2:]
    )
    with pytest.raises(UserError, match=r"own\.npz was changed while it was used"):
        pickle.loads(sent)
    path.unlink()
    with pytest.raises(UserError, match=r"own\.npz cannot be read \(No such file"):
        pickle.loads(sent)


def test_a_file_that_is_written_to_is_noticed(path):
    """Also where its size stays and the pixels that are read do."""
    os.utime(path, ns=(1, 1))
    images = open_npz(path, in_file=True).train_images
    read_at(images, [0])
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(UserError, match=r"own\.npz was changed while it was used"):
        read_at(images, [0])


def test_reading_a_large_set_takes_little_memory(tmp_path):
    path = tmp_path / "large.npz"
    images = np.zeros((20_000, 64, 64, 1), np.uint8)
    images[:, 0, 0] = 1
    labels = np.arange(20_000) % 2
    test = {"test_images": images[:4], "test_labels": labels[:4]}
    np.savez(path, train_images=images, train_labels=labels, **test)
    expected = pixel_statistics(images)
    del images, test
    tracemalloc.start()
    dataset = open_npz(path, in_file=True).shuffled()
    mean, std = pixel_statistics(dataset.train_images)
    notes_on(dataset)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (mean, std) == expected
    assert peak < 40e6 < 20_000 * 64 * 64
