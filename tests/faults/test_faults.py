"""What can go wrong around a run: each fault has its outcome, and none a wrong result.

Either the run goes on from its last good state, or it stops with a message that names the file and
the mend; what was finished stays.
"""

import errno
import json
import os
import resource
import shutil
import threading
from pathlib import Path
from stat import S_ISDIR

import numpy as np
import pytest
import torch

from fobench import checkpoint, lock, results, train
from fobench.checkpoint import LAST, PREVIOUS
from tests.faults.kills import compare, config_of, differences, launching


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes(b"")


HOWS = ("cut short", "flipped", "emptied")


@pytest.fixture
def refused(monkeypatch):
    """Let the disk refuse to take files of a name, with an error, from the nth write on."""

    def refuse(name: str, number: int, after: int = 0) -> None:
        open_file, left = Path.open, [after]

        def open_or_refuse(path, mode="r", *args, **options):
            if mode == "wb" and name in path.name:
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(number, os.strerror(number), str(path))
            return open_file(path, mode, *args, **options)

        monkeypatch.setattr(Path, "open", open_or_refuse)

    return refuse


ERRORS = [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS]


@pytest.mark.parametrize("number", ERRORS)
def test_a_disk_that_takes_no_checkpoint_does_not_end_the_run(victim, refused, number, caplog):
    refused("checkpoint", number)
    assert victim.run().exit_code == 0
    victim.require_its_end()
    assert os.strerror(number) in caplog.text
    assert "goes on without a checkpoint of epoch 2" in caplog.text


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize(
    ("name", "after", "resumed_after"), [("epochs.csv", 2, 1), ("run.json", 1, 2)]
)
def test_a_disk_that_takes_no_rows_or_record_stops_the_sweep(
    victim, refused, monkeypatch, number, name, after, resumed_after
):
    """The rows of the second epoch, the record at the end: the run goes on from where it can."""
    with monkeypatch.context():
        refused(name, number, after)
        ran = victim.run()
        assert ran.exit_code == 2
        assert f"{name} cannot be written ({os.strerror(number)})" in ran.output
        assert "Traceback" not in ran.output
        monkeypatch.undo()
    monkeypatch.setenv("FOBENCH_LOCK", str(victim.root / "lock"))
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after)


def test_a_file_too_large_for_the_disk(victim, caplog):
    """As the kernel refuses it in the middle of writing, not a test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        ran = victim.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.exit_code == 0, ran.output
    assert "File too large" in caplog.text
    victim.require_its_end()


def after_steps(monkeypatch, epoch: int, what) -> None:
    """Do something when an epoch's steps are done and nothing of it is written yet."""
    train_epoch = train.train_epoch

    def watched(training, number, *args):
        totals = train_epoch(training, number, *args)
        if number == epoch:
            what()
        return totals

    monkeypatch.setattr(train, "train_epoch", watched)


def test_a_results_folder_that_vanishes_is_not_made_anew(victim, monkeypatch):
    """It may be a disk that is no longer there: what is written in its place would be lost."""
    root = victim.root / "results"
    with monkeypatch.context() as patch:
        after_steps(patch, 1, lambda: shutil.rmtree(root))
        ran = victim.run()
    assert ran.exit_code == 2
    assert "epochs.csv cannot be written (No such file or directory)" in ran.output
    assert not root.exists()
    assert victim.run().exit_code == 0
    victim.require_its_end()


def test_permission_lost_is_named_before_anything_trains(victim, monkeypatch):
    victim.cut_off(epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, _: victim.folder.name not in str(path))
        ran = victim.run()
        assert ran.exit_code == 2
        assert f"{victim.folder.name} cannot be written (no permission)" in ran.output
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_permission_lost_for_real(victim):
    victim.cut_off(epochs=1)
    victim.folder.chmod(0o500)
    ran = victim.run()
    victim.folder.chmod(0o700)
    assert ran.exit_code == 2
    assert f"{victim.folder.name} cannot be written (no permission)" in ran.output
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(victim, how, caplog):
    victim.cut_off(epochs=2)
    damage(victim.folder / LAST, how)
    assert victim.run().exit_code == 0
    assert f"{LAST} is damaged" in caplog.text
    victim.require_its_end(resumed_after=1)


@pytest.mark.parametrize("how", HOWS)
def test_where_no_checkpoint_is_whole_the_run_starts_again(victim, how, caplog):
    victim.cut_off(epochs=2)
    damage(victim.folder / LAST, how)
    damage(victim.folder / PREVIOUS, how)
    assert victim.run().exit_code == 0
    assert "the run starts again" in caplog.text
    victim.require_its_end()


@pytest.mark.parametrize("how", [*HOWS, "gone"])
def test_rows_damaged_while_a_run_is_cut_off_are_written_anew(victim, how):
    victim.cut_off(epochs=2)
    rows = victim.folder / "epochs.csv"
    rows.unlink() if how == "gone" else damage(rows, how)
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=2)


@pytest.mark.parametrize("name", ["epochs.csv", "run.json"])
@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_finished_run_is_named_and_trained_anew_by_the_mend(victim, name, how):
    assert victim.run().exit_code == 0
    damage(victim.folder / name, how)
    for ran in (victim.run(), victim.run("--dry-run")):
        assert ran.exit_code == 2
        assert f"{victim.folder.name}/{name}" in ran.output
        assert "delete" in ran.output
    drawn = victim.fobench("plot", "results/tiny")
    assert drawn.exit_code == 2
    assert f"{victim.folder.name}/{name}" in drawn.output
    shutil.rmtree(victim.folder)
    assert victim.run().exit_code == 0
    victim.require_its_end()


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_record_of_a_run_cut_off_is_named_and_the_mend_loses_nothing(victim, how):
    victim.cut_off(epochs=2)
    damage(victim.folder / "run.json", how)
    ran = victim.run()
    assert ran.exit_code == 2
    assert f"{victim.folder.name}/run.json" in ran.output
    assert "delete it to have it made anew" in ran.output
    (victim.folder / "run.json").unlink()
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=2)


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_list_of_runs_is_written_anew(victim, how):
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
    # Cut short and written again as a sound file, it is another data set: no result is mixed up.
    np.savez(path, train_images=images[:55], train_labels=labels[:55],
             test_images=images[55:65], test_labels=labels[55:65])  # fmt: skip
    asked = fobench(*words, "--set", "data.test_size=10", "--dry-run")
    assert "4 of 4 runs to do" in asked.output
    assert written == {file: file.read_bytes() for file in tmp_path.glob("results/tiny/*/*")}


def out_of_memory(kind: str) -> None:
    if kind == "host":
        torch.empty(1 << 60, dtype=torch.uint8)
    if kind == "device":
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
    raise MemoryError


@pytest.mark.parametrize("kind", ["host", "device", "python"])
def test_memory_exhausted_in_training_is_recorded_and_the_sweep_goes_on(
    fobench, tiny, tmp_path, tiny_results, monkeypatch, caplog, kind
):
    with monkeypatch.context() as patch:
        after_steps(patch, 2, lambda: out_of_memory(kind))
        ran = fobench("run", tiny, "--device", "cpu")
    assert ran.exit_code == 1
    assert "Traceback" not in ran.output + caplog.text
    assert caplog.text.count("out of memory: lower train.batch_size") == 3 * 2
    status = {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in tmp_path.glob("results/tiny/*/run.json")
    }
    # The shorter baseline has no third epoch.
    assert sorted(status.values()) == ["failed"] * 3 + ["finished"]
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    for alone in tiny_results.glob("*/run.json"):
        read = results.read_run(tmp_path / "results" / "tiny" / alone.parent.name)
        assert differences(results.read_run(alone.parent), read) == []
        went_on = [{"epochs": 2}] if status[read.id] == "failed" else []
        assert [{"epochs": each["epochs"]} for each in read.record["resumed_at"]] == went_on


def test_a_clock_set_back_changes_no_time_that_was_measured(victim, monkeypatch):
    victim.cut_off(epochs=1)
    stamps = iter(f"19{year}-01-01T00:00:00+00:00" for year in range(99, 0, -1))
    with monkeypatch.context() as patch:
        patch.setattr("fobench.execute.now", lambda: next(stamps))
        patch.setattr("time.time", iter(range(10**6, 0, -1)).__next__)
        assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)
    read = results.read_run(victim.folder)
    assert read.record["ended"] < read.record["started"]
    assert all(0 < row.train_seconds < 60 and row.eval_seconds > 0 for row in read.epochs)


def test_a_run_that_another_process_trains_is_left_to_it(victim, caplog):
    victim.cut_off(epochs=1)
    before = {path.name: path.read_bytes() for path in victim.folder.iterdir()}
    with lock.run_lock(victim.folder) as ours:
        assert ours
        assert victim.run().exit_code == 1
    assert "another process trains it" in caplog.text
    assert before == {path.name: path.read_bytes() for path in victim.folder.iterdir()}
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)


def test_a_folder_that_cannot_be_locked_is_told(victim, monkeypatch, caplog):
    lock_now = lock.is_locked_now

    def unsupported(descriptor):
        if S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOLCK, "No locks available")
        return lock_now(descriptor)

    monkeypatch.setattr(lock, "is_locked_now", unsupported)
    assert victim.run().exit_code == 0
    assert "cannot be locked (No locks available): let no other process train it" in caplog.text
    victim.require_its_end()


def test_two_processes_on_one_results_folder_share_the_work(tmp_path):
    """With machine locks of their own, as on two machines that share a disk."""
    config = tmp_path / "wideresnet.toml"
    config.write_text(config_of("wideresnet", ["baseline", "linear, scaled", "equal time"]))
    words = ("run", config, "--device", "cpu", "--results")
    # A thread each: two processes of two threads would wait for each other most of the time.
    folders = (tmp_path / "one", tmp_path / "two")
    with launching(folders[0], threads=1) as one, launching(folders[1], threads=1) as two:
        assert one.run(*words, tmp_path / "alone", "--keep-checkpoints")["exit"] == 0
        both = [
            threading.Thread(target=each.run, args=(*words, tmp_path / "shared"))
            for each in (one, two)
        ]
        for each in both:
            each.start()
        for each in both:
            each.join()
        # What one left out because the other trained it is finished by now.
        assert one.run(*words, tmp_path / "shared")["exit"] == 0
    tally = compare(tmp_path / "alone/wideresnet", tmp_path / "shared/wideresnet")
    assert tally.differences == []
    assert tally.resumes == 0


@pytest.mark.parametrize("number", [0, results.FORMAT + 1])
def test_a_run_folder_of_another_format_is_named(victim, number):
    assert victim.run().exit_code == 0
    path = victim.folder / "run.json"
    other = json.loads(path.read_text()) | {"format": number}
    path.write_text(json.dumps(other))
    ran = victim.run()
    assert ran.exit_code == 2
    assert f"{victim.folder.name}/run.json has format {number}" in ran.output
    assert "use the fobench that wrote it, or move the folder away" in ran.output
    assert json.loads(path.read_text()) == other


def change_checkpoint(folder: Path, **changes) -> None:
    content = checkpoint.read(folder / LAST) | changes
    with (folder / LAST).open("wb") as file:
        checkpoint.write(content, file)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": checkpoint.FORMAT + 1}, "of another format"),
        ({"run": "another-run"}, "is that of another-run"),
        ({"bits_depend_on": {"torch": "1.0", "threads": 99}}, "torch 1.0 (here"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_left_and_the_others_train(
    fobench, tiny, tmp_path, victim, caplog, changes, told
):
    """One of another format, of another run, or from where the bits would be others."""
    victim.cut_off(epochs=2)
    change_checkpoint(victim.folder, **changes)
    before = (victim.folder / LAST).read_bytes()
    assert fobench("run", tiny, "--device", "cpu").exit_code == 1
    assert f"{victim.folder.name} is left as it is" in caplog.text
    assert told in caplog.text
    assert (victim.folder / LAST).read_bytes() == before
    found, notes = results.read_experiment(tmp_path / "results" / "tiny")
    assert len(found) == 3
    assert notes == [f"{victim.folder.name} is left out: running or cut off"]
    assert victim.run("--force").exit_code == 0
    victim.require_its_end()


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
    """With the checkpoint of the end kept, the run that goes on has nothing left to train."""
    assert victim.run("--keep-checkpoints").exit_code == 0
    record = results.read_record(victim.folder)
    results.write_record(victim.folder, record | {"status": "running", "epochs_sha256": None})
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=3)
