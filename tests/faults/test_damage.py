"""Files that are cut short, changed, of another format or of another run.

Either the run continues from its last good state, or it stops with a message that names the file
and the remedy; finished runs are kept.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from fobench.records.experiments import read_experiment
from fobench.records.runs import FORMAT, read_record, write_record
from fobench.training import checkpoint
from fobench.training.checkpoint import LAST, PREVIOUS


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes(b"")


HOWS = ("cut short", *(pytest.param(how, marks=pytest.mark.slow) for how in ("flipped", "emptied")))


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(victim, how, caplog):
    victim.cut_off(epochs=2)
    damage(victim.folder / LAST, how)
    assert victim.run().exit_code == 0
    assert f"{LAST} is damaged" in caplog.text
    victim.require_its_end(resumed_after=1)


@pytest.mark.parametrize("how", HOWS)
def test_where_no_checkpoint_is_intact_the_run_starts_again(victim, how, caplog):
    victim.cut_off(epochs=2)
    damage(victim.folder / LAST, how)
    damage(victim.folder / PREVIOUS, how)
    assert victim.run().exit_code == 0
    assert "the run starts again" in caplog.text
    victim.require_its_end()


@pytest.mark.parametrize("how", [*HOWS, "gone"])
def test_rows_damaged_while_a_run_is_cut_off_are_written_again(victim, how):
    victim.cut_off(epochs=2)
    rows = victim.folder / "epochs.csv"
    rows.unlink() if how == "gone" else damage(rows, how)
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=2)


@pytest.mark.parametrize("name", ["epochs.csv", "run.json"])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("keep", [(), ("--keep-checkpoints",)])
def test_a_damaged_finished_run_is_reported_and_repaired_by_the_remedy(victim, name, how, keep):
    """From its checkpoint, where that was kept."""
    assert victim.run(*keep).exit_code == 0
    damage(victim.folder / name, how)
    for ran in (victim.run(), victim.run("--dry-run")):
        assert ran.exit_code == 2
        assert f"{victim.folder.name}/{name}" in ran.output
        assert "move the run's run.json and epochs.csv away" in ran.output
    drawn = victim.fobench("plot", "results/tiny")
    assert drawn.exit_code == 2
    assert f"{victim.folder.name}/{name}" in drawn.output
    victim.move_record_away()
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=3 if keep else None)


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_record_of_a_run_cut_off_is_reported_and_the_remedy_loses_nothing(victim, how):
    victim.cut_off(epochs=2)
    damage(victim.folder / "run.json", how)
    ran = victim.run()
    assert ran.exit_code == 2
    assert f"{victim.folder.name}/run.json" in ran.output
    assert "move the run's run.json and epochs.csv away" in ran.output
    victim.move_record_away()
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=2)


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_list_of_runs_is_written_again(victim, how):
    victim.cut_off(epochs=2)
    damage(victim.root / "results" / "tiny" / "experiment.json", how)
    assert victim.fobench("plot", "results/tiny").exit_code == 2
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=2)
    listed = json.loads((victim.root / "results" / "tiny" / "experiment.json").read_text())
    assert victim.folder.name in listed["runs"]


def test_a_prepared_data_set_cut_short_after_preparation(fobench, tiny, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (75, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(75) % 10
    path = tmp_path / "mine.npz"
    np.savez(path, train_images=images[:55], train_labels=labels[:55],
             test_images=images[55:], test_labels=labels[55:])  # fmt: skip
    words = ("run", tiny, "--set", "data.dataset=./mine.npz", "--set", "train.epochs=1")
    assert fobench(*words).exit_code == 0
    written = {file: file.read_bytes() for file in tmp_path.glob("results/tiny/*/*")}
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:2000] + b"?" + whole[2001:]):
        path.write_bytes(content)
        ran = fobench(*words)
        assert ran.exit_code == 2
        assert "mine.npz is not a readable prepared data set" in ran.output
        # It is the user's own file.
        assert "Check its source and copy it again" in ran.output
        assert "delete" not in ran.output
    # Shortened but valid, it is another data set: no results are mixed up.
    np.savez(path, train_images=images[:55], train_labels=labels[:55],
             test_images=images[55:65], test_labels=labels[55:65])  # fmt: skip
    asked = fobench(*words, "--set", "data.test_size=10", "--dry-run")
    assert "4 of 4 runs to do" in asked.output
    assert written == {file: file.read_bytes() for file in tmp_path.glob("results/tiny/*/*")}


def test_a_damaged_run_can_be_forced(victim):
    assert victim.run().exit_code == 0
    damage(victim.folder / "run.json", "flipped")
    assert victim.run("--force").exit_code == 0
    victim.require_its_end()


@pytest.mark.parametrize("number", [0, FORMAT + 1])
def test_a_run_folder_of_another_format_is_reported(victim, number):
    assert victim.run().exit_code == 0
    path = victim.folder / "run.json"
    other = json.loads(path.read_text()) | {"format": number}
    path.write_text(json.dumps(other))
    ran = victim.run()
    assert ran.exit_code == 2
    assert f"{victim.folder.name}/run.json has format {number}" in ran.output
    assert "use the version that wrote it, or move the folder away" in ran.output
    assert json.loads(path.read_text()) == other


def change_checkpoint(folder: Path, **changes) -> None:
    content = checkpoint.read(folder / LAST) | changes
    with (folder / LAST).open("wb") as file:
        checkpoint.write(content, file)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param(
            *({"format": checkpoint.FORMAT + 1}, "not of this version's format"),
            marks=pytest.mark.slow,
        ),
        pytest.param({"run": "another-run"}, "is of another-run", marks=pytest.mark.slow),
        ({"bits_depend_on": {"torch": "1.0", "threads": 99}}, "torch 1.0 (here"),
        pytest.param(
            *(
                {"training": {"units": ["conv", "head"]}},
                "was cut into other units (here 7: conv, ",
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_left_and_the_others_train(
    fobench, tiny, tmp_path, victim, caplog, changes, problem
):
    """Of another format, run or cut, or from an environment with other bits."""
    victim.cut_off(epochs=2)
    change_checkpoint(victim.folder, **changes)
    before = (victim.folder / LAST).read_bytes()
    assert fobench("run", tiny, "--device", "cpu").exit_code == 1
    assert f"{victim.folder.name} is left as it is" in caplog.text
    assert problem in caplog.text
    assert "not finished" in caplog.text
    assert (victim.folder / LAST).read_bytes() == before
    found, notes = read_experiment(tmp_path / "results" / "tiny")
    assert len(found) == 3
    assert notes == [f"{victim.folder.name} is left out: running or interrupted"]
    # It is left as it is without its record too, and does not stop the others.
    (victim.folder / "run.json").unlink()
    assert fobench("run", tiny, "--device", "cpu").exit_code == 1
    assert victim.run("--force").exit_code == 0
    victim.require_its_end()


def test_a_checkpoint_of_before_units_were_named_in_it_is_resumed(victim):
    victim.cut_off(epochs=2)
    training = checkpoint.read(victim.folder / LAST)["training"]
    assert training.pop("units")[0] == "conv"
    change_checkpoint(victim.folder, training=training)
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=2)


def test_a_finished_run_keeps_its_checkpoint_only_if_asked(victim):
    assert victim.run("--keep-checkpoints").exit_code == 0
    kept = checkpoint.read(victim.folder / LAST)
    assert len(kept["rows"]) == 3
    assert victim.run().exit_code == 0, "nothing to do"
    assert (victim.folder / LAST).exists(), "what was asked for stays"
    assert victim.run("--force").exit_code == 0
    victim.require_its_end()


def test_a_checkpoint_that_a_dying_process_left_to_a_finished_run_is_removed(victim):
    assert victim.run().exit_code == 0
    (victim.folder / PREVIOUS).write_bytes(b"spent")
    assert victim.run().exit_code == 0
    victim.require_its_end()


def test_a_stop_after_the_last_epoch_and_before_the_record_repeats_nothing_wrong(victim):
    """With the last checkpoint kept, the resumed run has nothing left to train."""
    assert victim.run("--keep-checkpoints").exit_code == 0
    record = read_record(victim.folder)
    write_record(victim.folder, record | {"status": "running", "epochs_sha256": None})
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=3)
