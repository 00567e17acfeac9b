"""Images that are not on the device: the same batches, gathered ahead by threads that end."""

import threading
import time

import numpy as np
import pytest
import torch

from fobench.data import host_images, split
from fobench.data.host_images import HostImages
from fobench.data.npz import open_npz
from fobench.data.order import Indices
from fobench.errors import UserError
from fobench.experiment.expand import data_used
from fobench.experiment.options import DataOptions
from fobench.experiment.run import DataUsed
from tests.data.test_data import arrays, written

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


def loaded(path, place, device=CPU, in_file=False, augment="random"):
    dataset = open_npz(path, in_file=in_file)
    used = data_used(DataOptions(dataset=("own",), validation=20), dataset)
    return split.load(dataset, used, augment, device, place)


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "own.npz", **arrays(train=90, test=30))


@pytest.fixture(autouse=True)
def _threads_end():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augment", ["random", "none"])
@pytest.mark.parametrize("in_file", [False, True])
def test_batches_are_the_same_wherever_the_images_are(path, device, augment, in_file):
    device = torch.device(device)
    here = loaded(path, "device", device, augment=augment)
    there = loaded(path, "host", device, in_file, augment)
    assert isinstance(there.train.images, HostImages)
    view = here.train.draw_view(3, 1)
    order = list(Indices.of(torch.randperm(70), device).batches(16))
    with there.train.ahead(order):
        for indices in order:
            for given in (None, view):
                for one, other in zip(
                    here.train.batch(indices, given), there.train.batch(indices, given), strict=True
                ):
                    assert torch.equal(one, other)
                    assert one.stride() == other.stride()
                    assert one.device.type == device.type
    for part in ("train", "validation", "test"):
        both = (getattr(data, part).in_order(16) for data in (here, there))
        for one, other in zip(*both, strict=True):
            assert all(torch.equal(*each) for each in zip(one, other, strict=True))
    tensor = torch.tensor([5, 0, 5])
    assert torch.equal(here.train.images_at(tensor), there.train.images_at(tensor.to(device)))


class Watched(HostImages):
    """Images that record by which threads they are read, and fail at one of them."""

    bad = -1

    def fill(self, indices, rows):
        read.append((threading.current_thread(), indices.tolist()))
        if self.bad in indices:
            raise UserError("the disk is gone")
        super().fill(indices, rows)


read: list[tuple[threading.Thread, list[int]]] = []


@pytest.fixture
def images():
    read.clear()
    return Watched(np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1), CPU)


def test_the_next_batches_are_gathered_by_another_thread_in_the_order_of_use(images):
    batches = list(torch.randperm(40).split(4))
    with images.ahead(batches):
        assert read == [], "no thread before the first batch is needed"
        for batch in batches:
            assert images.read(batch).flatten().tolist() == batch.tolist()
    assert [indices for _, indices in read] == [batch.tolist() for batch in batches]
    assert threading.current_thread() not in {thread for thread, _ in read}


def test_a_short_batch_that_is_filled_up_is_gathered_ahead_too(images):
    """As where units are frozen, which run on full batches alone."""
    batches = list(Indices.of(torch.randperm(40), CPU).batches(16))
    with images.ahead([each.host for each in batches]):
        for batch in batches:
            full = batch.padded(16).host
            assert images.read(full).flatten().tolist() == full.tolist()
    assert [indices for _, indices in read] == [batch.host.tolist() for batch in batches]
    assert threading.current_thread() not in {thread for thread, _ in read}


def test_other_batches_can_be_read_in_between_also_ahead(images):
    """As where a store is built in the first step of an epoch."""
    batches, others = list(torch.randperm(40).split(4)), list(torch.arange(40).split(10))
    with images.ahead(batches):
        images.read(batches[0])
        with images.ahead(others):
            for other in others:
                assert images.read(other).flatten().tolist() == other.tolist()
        assert images.read(torch.tensor([7])).item() == 7
        for batch in batches[1:]:
            assert images.read(batch).flatten().tolist() == batch.tolist()
    assert len(read) == len(batches) + len(others) + 1


def test_not_more_batches_are_gathered_than_are_used_soon(images):
    with images.ahead(torch.arange(40).split(1)):
        images.read(torch.tensor([0]))
        time.sleep(0.1)
        assert len(read) == host_images.AHEAD + 1


def test_what_a_thread_raises_reaches_who_needs_the_batch(images):
    images.bad = 9
    batches = torch.arange(40).split(4)
    with images.ahead(batches):
        images.read(batches[0])
        images.read(batches[1])
        with pytest.raises(UserError, match="the disk is gone"):
            images.read(batches[2])


def test_an_error_of_the_caller_ends_the_threads(images):
    def interrupted():
        with images.ahead(torch.arange(40).split(4)):
            images.read(torch.arange(4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_images_outside_of_the_set_are_an_error(images):
    with pytest.raises(IndexError):
        images.read(torch.tensor([40]))


@pytest.mark.parametrize(
    ("free", "in_file", "place"),
    [(10**9, True, "device"), (1000, False, "host memory"), (1000, True, "file")],
)
def test_images_are_on_the_device_if_they_take_less_than_half_of_its_free_memory(
    path, monkeypatch, caplog, free, in_file, place
):
    monkeypatch.setattr(split, "available_memory", lambda device: (free, 10**10))
    with caplog.at_level("INFO"):
        data = loaded(path, None, in_file=in_file)
    assert isinstance(data.train.images, torch.Tensor if place == "device" else HostImages)
    assert data.place == place
    dataset = open_npz(path, in_file=in_file)
    used = data_used(DataOptions(dataset=("own",), validation=20), dataset)
    assert split.place_of_images(dataset, used, "random", CPU) == place
    message = caplog.messages[-1]
    size = (70 * 16 * 16 + (20 + 30) * 8 * 8) * 3 / 1e6
    assert message.startswith(f"images: {size:.1f} MB ")
    assert ("own.npz" in message) == (place == "file")


@pytest.mark.parametrize(
    ("side", "padding"), [(8, 4), (28, 4), (32, 4), (36, 5), (48, 6), (64, 8), (96, 12), (224, 28)]
)
def test_the_padding_grows_with_images_of_more_than_32_pixels(side, padding):
    used = DataUsed("", "", 2, (side, side + 7, 3), 2, 0, 1)
    assert used.padding == padding
