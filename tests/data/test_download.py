"""Preparation from torchvision, its download replaced by pictures made here or a server here."""

import errno
import inspect
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from fobench.data import download
from fobench.data.find import open_first
from fobench.data.npz import open_npz
from fobench.data.torchvision_sets import DOWNLOADS
from fobench.errors import UserError


class FakeCIFAR10:
    classes = ("cat", "dog")

    def __init__(self, root, train, download):
        assert download
        self.data = np.full((6 if train else 4, 32, 32, 3), 7, np.uint8)
        self.targets = [0, 1] * (3 if train else 2)


def test_a_set_is_prepared_once(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
    path = download.prepare("cifar10", tmp_path / "root")
    dataset = open_npz(path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train_labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert [each.name for each in (tmp_path / "root").iterdir()] == ["cifar10.npz"]
    monkeypatch.setattr("torchvision.datasets.CIFAR10", None)
    assert download.prepare("cifar10", tmp_path / "root") == path


class FakeSet:
    """One that gives its images one by one, as most of torchvision's do."""

    asked: ClassVar[list[dict]] = []

    def __init__(self, root, download, shape=(40, 30, 3), classes=("a", "b"), **options):
        self.asked.append(options)
        self.shape, self.shift = shape, len(self.asked)
        if classes:
            self.classes = classes

    def __len__(self):
        return 3

    def __getitem__(self, number):
        pixels = np.full(self.shape, 10 * self.shift + number, np.uint8)
        pixels[: number + 1] = 0
        return Image.fromarray(pixels), (number + self.shift) % 2


@pytest.fixture
def asked():
    FakeSet.asked.clear()
    return FakeSet.asked


def test_images_of_one_size_are_prepared_as_they_are(tmp_path, monkeypatch, asked):
    fake = partial(FakeSet, shape=(32, 32, 3), classes=None)
    monkeypatch.setattr("torchvision.datasets.SVHN", fake)
    dataset = open_npz(download.prepare("svhn", tmp_path))
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.train_images[2, 0, 0].tolist() == [0, 0, 0]
    assert dataset.train_images[2, 5, 0].tolist() == [12, 12, 12]
    assert dataset.train_labels.tolist() == [1, 0, 1]
    assert dataset.test_labels.tolist() == [0, 1, 0]
    assert dataset.classes == ("0", "1")
    assert asked == [{"split": "train"}, {"split": "test"}]


def test_grey_images_are_prepared_from_their_array(tmp_path, monkeypatch):
    class FakeMNIST(FakeCIFAR10):
        def __init__(self, root, train, download):
            self.data = torch.full((4, 28, 28), 5 + train, dtype=torch.uint8)
            self.targets = torch.tensor([0, 1, 1, 0])

    monkeypatch.setattr("torchvision.datasets.MNIST", FakeMNIST)
    dataset = open_npz(download.prepare("mnist", tmp_path))
    assert dataset.image_shape == (28, 28, 1)
    assert (dataset.train_images == 6).all()
    assert dataset.test_labels.tolist() == [0, 1, 1, 0]


def test_resized_images_that_no_file_can_hold_are_no_success(tmp_path, monkeypatch):
    """It would name a file that is not there."""
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
    download.prepare("cifar10", tmp_path)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fobench.data.prepared.write_prepared", full)
    with pytest.raises(UserError, match="cannot be written: give another"):
        download.prepare("cifar10", tmp_path, 8)


def test_images_that_differ_in_size_need_one_and_come_in_it(tmp_path, monkeypatch, asked):
    """From all parts that are trained on; a class of several names gets its first."""
    fake = partial(FakeSet, classes=[("a", "also a"), "b"])
    monkeypatch.setattr("torchvision.datasets.Flowers102", fake)
    with pytest.raises(UserError, match="flowers102 differ in size: give --image-size"):
        download.prepare("flowers102", tmp_path)
    path = download.prepare("flowers102", tmp_path, 8)
    assert path == tmp_path / "flowers102-8px.npz"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    dataset = open_npz(path)
    assert (dataset.image_shape, dataset.classes) == ((8, 8, 3), ("a", "b"))
    assert dataset.train_images[:, -1, 0, 0].tolist() == [10, 11, 12, 20, 21, 22]
    assert dataset.train_labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert asked == [{"split": "train"}, {"split": "val"}, {"split": "test"}]
    assert open_first(["flowers102"], tmp_path, image_size=8).fingerprint == dataset.fingerprint


def test_a_set_of_one_size_is_resized_beside_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
    assert download.prepare("cifar10", tmp_path, 16) == tmp_path / "cifar10-16px.npz"
    assert open_npz(tmp_path / "cifar10-16px.npz").image_shape == (16, 16, 3)
    assert open_npz(tmp_path / "cifar10.npz").image_shape == (32, 32, 3)
    assert download.prepare("cifar10", tmp_path, 32) == tmp_path / "cifar10.npz"


@pytest.mark.parametrize("name", DOWNLOADS)
def test_torchvision_has_the_sets_of_the_registry(name):
    """Each takes the options that say which part is meant."""
    source = DOWNLOADS[name]
    found = getattr(torchvision.datasets, source.name)
    accepted = {
        option for cls in found.__mro__ for option in inspect.signature(cls.__init__).parameters
    }
    known = ("train", "test", "val", "valid", "trainval", "balanced")
    for options in (*source.train, source.test):
        assert set(options) | {"download"} <= accepted
        assert options.get("split", "train") in known


def test_a_folder_that_cannot_be_written_is_reported(monkeypatch):
    with pytest.raises(UserError, match=r"cannot be written .*: give another --data-root"):
        download.prepare("cifar10", Path("/proc/none"))


def test_a_failed_download_says_what_to_put_where(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR100", unreachable)
    with pytest.raises(UserError, match=r"no route to host.*copy its cifar100\.npz to .*/cifar100"):
        download.prepare("cifar100", tmp_path)
    assert list(tmp_path.iterdir()) == []


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: 170498071\r\n\r\n"


@contextmanager
def stalling_server(answer: bytes = b"") -> Iterator[str]:
    """The address of a server that reads a request, sends `answer` and then nothing.

    It closes its connections after a minute, so that a test fails where it would hang.
    """
    held = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed, as the test is over; or a minute without a client
                break
            held.append(connection)
            with suppress(OSError):  # the client can leave
                connection.recv(4096)
                connection.sendall(answer)
        for connection in held:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/cifar-10-python.tar.gz"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"", HEAD[:20], HEAD, HEAD + bytes(100_000)],
    ids=["no answer", "in the head", "no body", "in the body"],
)
def test_a_server_that_stalls_is_an_error(tmp_path, monkeypatch, answer):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with stalling_server(answer) as url:
        monkeypatch.setattr("torchvision.datasets.CIFAR10.url", url)
        start = time.monotonic()
        with pytest.raises(UserError, match=r"cifar10 could not be downloaded \(.*timed out.*\)"):
            download.prepare("cifar10", tmp_path)
    assert time.monotonic() - start < 10
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("before", [None, 7.0])
def test_the_timeout_of_other_connections_is_as_before(before):
    try:
        socket.setdefaulttimeout(before)
        with suppress(KeyError), download.socket_timeout(0.5):
            assert socket.getdefaulttimeout() == 0.5
            raise KeyError
        assert socket.getdefaulttimeout() == before
    finally:
        socket.setdefaulttimeout(None)


DOWNLOADING = """
import sys
import torchvision
from fobench.cli import main
torchvision.datasets.CIFAR10.url = sys.argv[1]
main(["data", "cifar10", "--data-root", sys.argv[2]])
"""


@contextmanager
def downloading(url: str, root: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A `fobench data cifar10` that is downloading, and its scratch folder."""
    before = set(root.glob(".cifar10-*"))
    with subprocess.Popen([sys.executable, "-c", DOWNLOADING, url, str(root)]) as process:
        try:
            folder = None
            while folder is None or sum(file.stat().st_size for file in folder.iterdir()) < 250_000:
                assert process.poll() is None
                time.sleep(0.05)
                folder = next((new for new in root.glob(".cifar10-*") if new not in before), None)
            yield process, folder
        finally:
            process.kill()


@pytest.mark.parametrize(
    "killed_by", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_what_a_killed_download_left_is_listed_and_removed(
    fobench, tmp_path, monkeypatch, killed_by
):
    """But not while another download uses its own."""
    root = tmp_path / "root"
    with (
        stalling_server(HEAD + bytes(300_000)) as url,
        downloading(url, root) as (killed, left),
    ):
        killed.send_signal(killed_by)
        killed.wait()
        with downloading(url, root) as (alive, used):
            # The second download removed what the first one left.
            assert not left.exists()
            assert (
                f"left by a killed download: {used.name}"
                not in fobench("data", "--data-root", root).output
            )
            monkeypatch.setattr("torchvision.datasets.CIFAR100", FakeCIFAR10)
            assert fobench("data", "cifar100", "--data-root", root).exit_code == 0
            assert used.exists()
            assert alive.poll() is None
            alive.send_signal(killed_by)
            alive.wait()
        listed = fobench("data", "--data-root", root).output
        assert f"left by a killed download: {used.name}, 0.3 MB" in listed
        # Removed also where there is nothing to download any more.
        assert fobench("data", "cifar100", "--data-root", root).exit_code == 0
    assert [each.name for each in root.iterdir()] == ["cifar100.npz"]
