"""The files of a run: written atomically, read back as written, refused when damaged."""

import json
import math
from dataclasses import replace

import pytest

from fobench.errors import UserError
from fobench.records.epochs import (
    COLUMNS,
    RESTORE_RUN,
    VOLATILE,
    Epoch,
    read_epochs,
    write_epochs,
)
from fobench.records.experiments import read_experiment, write_experiment
from fobench.records.files import write_bytes
from fobench.records.runs import (
    REQUIRED,
    REQUIRED_WITHIN,
    read_record,
    read_run,
    status_of,
    write_record,
)

ROW = Epoch(
    epoch=1, step=94, frozen_units=2, cached_units=0, train_loss=1 / 3, train_error=50.0,
    val_loss=None, val_error=None, test_loss=0.1, test_error=38.61, train_seconds=1.5,
    total_train_seconds=3.0, train_cpu_seconds=2.9, eval_seconds=0.25, images_per_second=4000.0,
    cache_bytes=0, peak_memory_bytes=123,
)  # fmt: skip


EMPTY_CELL = ",".join(COLUMNS) + "\n1,94" + "," * (len(COLUMNS) - 2) + "\n"


def record(**changes) -> dict:
    """A run.json with all that readers count on: one epoch of 94 steps."""
    within = {key: dict.fromkeys(inners) for key, inners in REQUIRED_WITHIN.items()}
    steps = {"total_steps": 94, "steps_per_epoch": 94}
    return dict.fromkeys(REQUIRED) | within | steps | {"status": "finished"} | changes


def write_run(folder, rows, **changes) -> None:
    """A run's folder, as a training leaves it."""
    folder.mkdir()
    sha256 = write_epochs(folder, rows)
    write_record(folder, record(epochs_sha256=sha256, **changes))


def test_rows_are_read_back_as_written(tmp_path):
    write_epochs(tmp_path, [ROW, ROW])
    assert read_epochs(tmp_path) == [ROW, ROW]


def test_the_columns_are_those_of_the_format(tmp_path):
    write_epochs(tmp_path, [ROW])
    header, row = (tmp_path / "epochs.csv").read_text().splitlines()
    assert header == (
        "epoch,step,frozen_units,cached_units,train_loss,train_error,val_loss,val_error,test_loss,"
        "test_error,train_seconds,total_train_seconds,train_cpu_seconds,eval_seconds,"
        "images_per_second,cache_bytes,peak_memory_bytes"
    )
    assert row.startswith("1,94,2,0,0.3333333333333333,50.0,,,0.1,38.61,")
    assert set(COLUMNS) >= VOLATILE


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_epochs(tmp_path, [ROW])

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(UserError, match="No space left"):
        write_epochs(tmp_path, [ROW, ROW])
    assert read_epochs(tmp_path) == [ROW]
    assert [path.name for path in tmp_path.iterdir()] == ["epochs.csv"]


@pytest.mark.parametrize("text", ["", "epoch,step\n1,2\n", None, EMPTY_CELL])
def test_damaged_rows_are_refused(tmp_path, text):
    write_epochs(tmp_path, [ROW])
    path = tmp_path / "epochs.csv"
    path.write_text(path.read_text()[:-30] + "\n" if text is None else text)
    with pytest.raises(UserError, match=r"epochs\.csv"):
        read_epochs(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "status": "fin', "cannot be read"),
        ("[]", "is not a JSON object"),
        ('{"format": 99, "status": "finished"}', "has format 99"),
        ('{"format": 1, "status": "finished"}', "lacks id, baseline, run"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=message):
        status_of(tmp_path)


def test_records_hold_no_number_that_json_cannot(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path, record(loss=float("nan")))


def test_an_experiment_takes_its_finished_runs_and_reports_the_others(tmp_path):
    for run_id in "abcdf":
        status = "diverged" if run_id == "b" else "finished"
        write_run(tmp_path / run_id, [ROW], status=status)
    (tmp_path / "d" / "run.json").write_text("{")
    write_record(tmp_path / "f", record(total_steps=188))
    write_experiment(tmp_path, "mine", ["a", "b", "d", "e", "f"])
    found, notes = read_experiment(tmp_path)
    assert [run.id for run in found] == ["a"]
    text = "\n".join(notes)
    assert "b is left out: diverged" in text
    assert "c is left out: it does not belong to this experiment" in text
    assert "d is left out: " in text
    assert "1 of 5 runs are not run yet, such as e" in text
    assert "f is left out: " in text
    assert "does not have the 2 epochs to step 188" in text


@pytest.mark.parametrize(
    ("steps", "seconds", "sound"),
    [
        ([94, 188, 200], [1, 2, 3], True),
        ([94, 200], [1, 2], False),
        ([94, 188], [1, 2], False),
        ([94, 188, 200], [1, 2, 0], False),
        ([94, 188, 200], [1, math.nan, 3], False),
        ([94, 188, 200], [1, math.inf, 3], False),
    ],
)
def test_rows_that_are_missing_or_impossible_are_reported(tmp_path, steps, seconds, sound):
    rows = [
        replace(ROW, step=step, total_train_seconds=float(second))
        for step, second in zip(steps, seconds, strict=True)
    ]
    write_run(tmp_path / "a", rows, total_steps=200)
    write_experiment(tmp_path, "mine", ["a"])
    found, notes = read_experiment(tmp_path)
    assert [run.epochs for run in found] == ([rows] if sound else [])
    assert (RESTORE_RUN in "".join(notes)) == (not sound)


def test_a_record_without_what_readers_need_is_reported(tmp_path):
    write_record(tmp_path, record(environment={}))
    with pytest.raises(UserError, match=r"lacks environment\.host, environment\.device"):
        read_record(tmp_path)


def test_a_folder_without_an_experiment_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"has no experiment\.json"):
        read_experiment(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["[]", '{"format": 1, "runs": null}', '{"runs": []}', "{", "[" * 200_000,
     '{"format": 1, "runs": ["../elsewhere"]}', '{"format": 1, "runs": [7]}'],
)  # fmt: skip
def test_a_damaged_list_of_runs_is_reported(tmp_path, text):
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(UserError, match=r"experiment\.json"):
        read_experiment(tmp_path)


def test_a_trained_run_shows_all_that_a_reader_needs(tiny_results):
    found, notes = read_experiment(tiny_results)
    assert notes == []
    assert len(found) == 4
    frozen = next(run for run in found if "t0.30" in run.id)
    record = frozen.record
    assert record["status"] == "finished"
    assert record["resumed"] is False
    assert record["baseline"] in {run.id for run in found}
    assert record["run"]["data_used"]["name"] == "synthetic"
    assert record["run"]["method"] == {
        "name": "freezeout", "scaling": "linear", "scale_lr": True, "t0": 0.3, "epoch_share": 1.0,
        "match_time": False, "compat": "none", "views": None, "precompute": False,
        "store": "float16", "budget": "auto", "plan": None,
    }  # fmt: skip
    assert set(record["units"][0]) == {
        "name", "parameters", "flops", "backward_flops", "first_backward_flops",
        "activation_bytes", "convolution_flops", "freeze_step",
    }  # fmt: skip
    assert 0 < record["predictions"]["flops_saved_percent"] < 100
    environment = record["environment"]
    assert environment["device"] == "cpu"
    assert environment["threads"] >= 1
    assert environment["versions"]["torch"]
    assert record["started"] <= record["ended"]
    assert json.loads((tiny_results / "experiment.json").read_text())["name"] == "tiny"
    assert len(frozen.epochs) == 3


@pytest.mark.parametrize("name", ["epochs.csv", "run.json"])
def test_no_changed_character_of_a_finished_run_is_believed(tiny_results, tmp_path, name):
    """If any single bit of a file flips, the run is refused, or reads as before."""
    folder = next(tiny_results.glob("*t0.30*"))
    sound = read_run(folder)
    content = (folder / name).read_bytes()
    copy = tmp_path / folder.name
    copy.mkdir()
    for each in ("epochs.csv", "run.json"):
        (copy / each).write_bytes((folder / each).read_bytes())
    refused = 0
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        (copy / name).write_bytes(flipped)
        try:
            read = read_run(copy)
        except UserError as error:
            assert name in str(error)
            refused += 1
        else:
            assert read.epochs == sound.epochs
            assert {**read.record, "x": 0}.items() >= sound.record.items()
    assert refused > len(content) / 7 * 0.9


def test_a_record_without_checksums_is_read(tmp_path):
    """As the first version wrote them."""
    write_run(tmp_path / "a", [ROW])
    path = tmp_path / "a" / "run.json"
    written = json.loads(path.read_text())
    del written["sha256"], written["epochs_sha256"]
    path.write_text(json.dumps(written))
    assert read_run(tmp_path / "a").epochs == [ROW]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to("target")
    for content in (b"one", b"two"):
        write_bytes(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_bytes() == content
