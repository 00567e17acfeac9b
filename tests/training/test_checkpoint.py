"""Checkpoints: intact or refused, the previous one kept, and no code run from them."""

import hashlib
import io
import os
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fobench.errors import UserError
from fobench.machine.interruption import Stopped
from fobench.training import checkpoint
from fobench.training.checkpoint import LAST, NEW, PREVIOUS, DamagedError


def content(number: int) -> dict:
    weights = torch.arange(6.0).reshape(2, 3).to(memory_format=torch.contiguous_format) + number
    return {"run": "mine", "rows": [{"epoch": number, "val_error": None}], "training": weights}


def is_number(read: dict, number: int) -> bool:
    return torch.equal(read["training"], content(number)["training"]) and read["rows"] == [
        {"epoch": number, "val_error": None}
    ]


def test_the_last_checkpoint_is_read_back_as_saved(tmp_path):
    assert checkpoint.read_last(tmp_path) is None
    for number in (1, 2, 3):
        checkpoint.save(tmp_path, content(number))
        assert is_number(checkpoint.read_last(tmp_path), number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, LAST]
    assert is_number(checkpoint.read(tmp_path / PREVIOUS), 2)
    checkpoint.drop(tmp_path)
    assert list(tmp_path.iterdir()) == []


def packed(content: dict) -> bytes:
    """A whole checkpoint's file."""
    file = io.BytesIO()
    checkpoint.write(content, file)
    return file.getvalue()


PACKED = packed({"format": checkpoint.FORMAT, **content(1)})


def test_torch_reads_a_checkpoint_by_itself(tmp_path):
    checkpoint.save(tmp_path, content(4))
    assert is_number(torch.load(tmp_path / LAST, weights_only=True), 4)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_cut_or_flipped_checkpoint_is_believed(tmp_path, data):
    path = tmp_path / "damaged"
    if data.draw(st.booleans(), label="cut"):
        path.write_bytes(PACKED[: data.draw(st.integers(0, len(PACKED) - 1))])
    else:
        flipped = bytearray(PACKED)
        flipped[data.draw(st.integers(0, len(PACKED) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(flipped)
    with pytest.raises(DamagedError):
        checkpoint.read(path)


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path, caplog):
    checkpoint.save(tmp_path, content(1))
    checkpoint.save(tmp_path, content(2))
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:-1])
    assert is_number(checkpoint.read_last(tmp_path), 1)
    assert f"{LAST} is damaged" in caplog.text
    assert f"resuming from {tmp_path / PREVIOUS}" in caplog.text
    (tmp_path / PREVIOUS).write_bytes(b"")
    assert checkpoint.read_last(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert "no checkpoint is intact" in caplog.text


def test_a_checkpoint_that_the_disk_corrupts_does_not_replace_the_last(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, content(1))
    monkeypatch.setattr(checkpoint, "write", lambda content, file: file.write(PACKED[:-9]))
    with pytest.raises(UserError, match="differs from what was written"):
        checkpoint.save(tmp_path, content(2))
    assert not (tmp_path / NEW).exists(), "a full disk needs the room"
    assert is_number(checkpoint.read_last(tmp_path), 1)


def test_a_new_checkpoint_is_taken_where_a_process_died_before_it_was_in_place(tmp_path):
    for number in (1, 2):
        checkpoint.save(tmp_path, content(number))
    (tmp_path / LAST).rename(tmp_path / PREVIOUS)
    with (tmp_path / NEW).open("wb") as file:
        checkpoint.write({"format": checkpoint.FORMAT, **content(3)}, file)
    assert is_number(checkpoint.read_last(tmp_path), 3)
    assert is_number(checkpoint.read(tmp_path / LAST), 3)
    assert is_number(checkpoint.read(tmp_path / PREVIOUS), 2)


def test_a_damaged_checkpoint_never_takes_the_place_of_an_intact_one(tmp_path):
    for number in (1, 2):
        checkpoint.save(tmp_path, content(number))
    (tmp_path / LAST).write_bytes(b"")
    assert is_number(checkpoint.read_last(tmp_path), 1)
    assert not (tmp_path / LAST).exists()
    checkpoint.save(tmp_path, content(3))
    (tmp_path / LAST).write_bytes(b"")
    assert is_number(checkpoint.read_last(tmp_path), 1)


class Broken(io.BytesIO):
    """A file that raises at the nth write."""

    def __init__(self, number: int, error: BaseException) -> None:
        super().__init__()
        self.left, self.error = number, error

    def write(self, content):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(content)


@pytest.mark.parametrize("error", [OSError(28, "No space left"), Stopped("SIGINT", 130)])
def test_what_breaks_a_write_is_what_is_raised(error):
    """Not what torch's writer makes of it, wherever it happens."""
    writes = 0
    while True:
        try:
            checkpoint.write(content(1), Broken(writes, error))
        except BaseException as raised:
            assert raised is error, writes
        else:
            break
        writes += 1
    assert writes > 10


def test_a_checkpoint_that_cannot_be_loaded_now_is_not_removed(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, content(1))

    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(UserError, match=r"cannot be loaded .* try again"):
        checkpoint.read_last(tmp_path)
    assert (tmp_path / LAST).exists()


def test_another_format_is_reported_with_a_remedy(tmp_path):
    (tmp_path / LAST).write_bytes(packed({"format": 99}))
    with pytest.raises(UserError, match="use the version of fobench that wrote it, or move it"):
        checkpoint.read_last(tmp_path)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("saved_by", ["torch", "pickle"])
def test_no_code_is_run_from_a_checkpoint(tmp_path, monkeypatch, saved_by):
    monkeypatch.chdir(tmp_path)
    written = io.BytesIO()
    (torch.save if saved_by == "torch" else pickle.dump)({"format": Hostile()}, written)
    payload = written.getvalue()
    whole = payload + hashlib.sha256(payload).digest() + checkpoint.END_MARK
    (tmp_path / LAST).write_bytes(whole)
    with pytest.raises(UserError, match="is not a checkpoint of fobench"):
        checkpoint.read_last(tmp_path)
    assert not (tmp_path / "owned").exists()
    torch.load(io.BytesIO(payload), weights_only=False) if saved_by == "torch" else pickle.loads(
        payload
    )
    assert (tmp_path / "owned").exists(), "it would have run"
