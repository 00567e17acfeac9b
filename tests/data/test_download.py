"""Preparation from torchvision, its download replaced by pictures made here or a server here."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from fobench.data import download
from fobench.data.npz import open_npz
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
