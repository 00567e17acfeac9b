"""Preparation from torchvision, its download replaced by pictures made here."""

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
