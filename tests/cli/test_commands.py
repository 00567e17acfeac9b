"""The commands as a user meets them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fobench.records.runs import read_record, write_record
from fobench.training import loop
from tests.networks import EXAMPLES

FOBENCH = str(Path(sys.executable).with_name("fobench"))


def imported_by(*words: str) -> set[str]:
    """The top-level modules that a command imports in a process of its own."""
    code = (
        "import sys; from fobench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as left: assert not left.code, left.code\n"
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.rpartition("MODULES")[2].split())


@pytest.mark.timing
def test_help_answers_within_half_a_second():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        ran = subprocess.run([FOBENCH, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    assert all(command in ran.stdout for command in ("run", "plot", "data"))


def test_help_dry_run_and_plot_import_no_torch(tiny, tiny_results, tmp_path):
    light = imported_by("--help")
    assert not light & {"torch", "numpy", "pandas", "matplotlib"}
    planned = imported_by("run", str(tiny), "--dry-run", "--results", str(tmp_path))
    assert not planned & {"torch", "pandas", "matplotlib"}
    told = imported_by("status", str(tiny), "--results", str(tmp_path))
    assert not told & {"torch", "pandas", "matplotlib", "ray"}
    drawn = imported_by("plot", str(tiny_results), "-o", str(tmp_path / "figure.png"))
    assert "matplotlib" in drawn
    assert "torch" not in drawn


def test_dry_run_lists_the_runs_and_writes_nothing(fobench, tiny, tmp_path):
    ran = fobench("run", tiny, "--dry-run")
    assert ran.exit_code == 0
    assert "tiny on synthetic: 4 of 4 runs to do" in ran.output
    assert ran.output.count("to do ") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def times_of(paths: list[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths}


def test_run_trains_what_is_not_finished(fobench, tiny, tmp_path):
    """Finished runs are left alone, an unfinished one starts again, --force repeats all."""
    words = ("run", tiny, "--set", "train.epochs=1", "--device", "cpu")
    assert fobench(*words).exit_code == 0
    folder = tmp_path / "results" / "tiny"
    records = sorted(folder.glob("*/run.json"))
    assert len(records) == 4
    cut_off = read_record(records[0].parent) | {"status": "running"}
    write_record(records[0].parent, cut_off)
    written = times_of(records)
    assert fobench(*words).exit_code == 0
    changed = [record for record in records if record.stat().st_mtime_ns != written[record]]
    assert changed == records[:1]
    assert json.loads(records[0].read_text())["status"] == "finished"
    written = times_of(records)
    assert fobench(*words, "--force", "--only", "_baseline_").exit_code == 0
    changed = [record for record in records if record.stat().st_mtime_ns != written[record]]
    assert [record.parent.name.split("_")[2] for record in changed] == ["baseline"]


def test_only_chooses_runs(fobench, tiny):
    ran = fobench("run", tiny, "--dry-run", "--only", "freezeout*t0.30")
    assert ran.output.count("to do ") == 1
    both = fobench("run", tiny, "--dry-run", "--only", "freezeout*t0.30", "--only", "_baseline_")
    assert "2 of 2 runs to do" in both.output
    missed = fobench("run", tiny, "--dry-run", "--only", "_baseline_", "--only", "snapshot")
    assert missed.exit_code == 2
    assert "--only snapshot matches none of the 4 runs" in missed.output


def test_a_run_that_diverges_is_recorded_and_the_sweep_continues(fobench, tiny, tmp_path, caplog):
    ran = fobench("run", tiny, "--set", "train.lr=1e6", "--set", "train.epochs=1")
    assert ran.exit_code == 1
    records = [
        json.loads(path.read_text()) for path in (tmp_path / "results/tiny").glob("*/run.json")
    ]
    assert [record["status"] for record in records] == ["diverged"] * 4
    assert all("epoch 1" in record["reason"] for record in records)
    missed = fobench("plot", "results/tiny")
    assert missed.exit_code == 2
    assert "no finished run" in missed.output
    written = times_of(list((tmp_path / "results/tiny").glob("*/run.json")))
    again = fobench("run", tiny, "--set", "train.lr=1e6", "--set", "train.epochs=1")
    assert again.exit_code == 1
    assert written == times_of(list(written)), "what diverged would diverge again"
    assert caplog.text.count("diverged; --force trains it again") == 4


def test_a_file_in_a_run_folders_place_is_reported_before_anything_trains(fobench, tiny, tmp_path):
    listed = fobench("run", tiny, "--dry-run").output.split()
    (last,) = [word for word in listed if "t1.00" in word]
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "results" / "tiny" / last).write_text("in the way")
    ran = fobench("run", tiny)
    assert ran.exit_code == 2
    assert last in ran.output
    assert not list(tmp_path.glob("results/tiny/*/run.json"))


def test_a_failure_of_ours_is_recorded_and_not_swallowed(
    fobench, tiny, tmp_path, monkeypatch, caplog
):
    """The sweep continues, and the traceback is logged for debugging."""
    train_epoch = loop.train_epoch

    def broken(training, *more):
        if training.scheduler.frozen or "t0.30" in training.run.id:
            raise ZeroDivisionError("ours")
        return train_epoch(training, *more)

    monkeypatch.setattr("fobench.training.loop.train_epoch", broken)
    ran = fobench("run", tiny, "--set", "train.epochs=1")
    assert ran.exit_code == 1
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/tiny/*/run.json")]
    assert sorted(record["status"] for record in records) == ["failed"] + 3 * ["finished"]
    (failed,) = (record for record in records if record["status"] == "failed")
    assert failed["reason"] == "ZeroDivisionError: ours"
    assert "Traceback" in caplog.text
    assert f"not finished: results/tiny/{failed['id']} (failed: ZeroDivisionError" in caplog.text


def test_the_set_taken_is_reported_where_it_was_not_the_first(fobench, tiny, caplog):
    caplog.set_level("INFO")
    words = ("run", tiny, "--set", 'data.dataset=["cifar10", "synthetic"]')
    assert "tiny on synthetic (cifar10 not found)" in fobench(*words, "--dry-run").output
    assert fobench(*words, "--only", "baseline_", "--set", "train.epochs=1").exit_code == 0
    assert "synthetic (cifar10 not found)" in caplog.text
    assert "epoch 1/1: loss" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "no.toml"), "no.toml: cannot be read"),
        (("run", "tiny.toml", "--set", "train.epochs=0"), "[train] epochs = 0"),
        (("run", "tiny.toml", "--set", "data.dataset=cifar10"), "cifar10.npz not found"),
        (("run", "tiny.toml", "--set", "data.train_size=41"), "BatchNorm cannot take"),
        (("run", "tiny.toml", "--results", "/proc/none"), "cannot be written"),
        (("plot", "nowhere"), "has no experiment.json"),
        (("data", "cifar10", "lsun"), "lsun cannot be prepared: there are cifar10, cifar100"),
        (("data", "food101"), "the images of food101 differ in size: give --image-size"),
        (("data", "cifar10", "--data-root", "x" * 300), "cannot be accessed"),
        (("run", "tiny.toml", "--dry-run", "--results", "x" * 300), "cannot be accessed"),
        (("run", "tiny.toml", "--set", "trian.epochs=1"), "did you mean train?"),
        (("run", "tiny.toml", "--set", "experiment.name=2017-06-15/"), "name = '2017-06-15/'"),
        (("run", "tiny.toml", "--set", f"train.epochs={'9' * 5000}"), "epochs = '9999"),
    ],
)
def test_a_mistake_is_a_message_and_status_2(fobench, tiny, tmp_path, words, message):
    """And nothing is written."""
    ran = fobench(*words)
    assert ran.exit_code == 2
    assert ran.output.startswith("Error: ")
    assert message in ran.output
    assert "Traceback" not in ran.output
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "d", "--target-error", "nan"), "nan is not a number from 0 to 100"),
        (("report", "d", "--target-error", "-NaN"), "-NaN is not a number from 0 to 100"),
        (("report", "d", "--target-error", "inf"), "not in the range 0<=x<=100"),
        (("report", "d", "--target-error", "-1"), "not in the range 0<=x<=100"),
        (("report", "d", "--target-error", "1" * 5000), "not in the range 0<=x<=100"),
        (("report", "d", "--target-error", "many"), "not a valid float"),
        (("run", "tiny.toml", "--shard", f"1/{'9' * 5000}"), "is not a share: give one such as"),
        (("run", "tiny.toml", "--shard", "１/２"), "is not a share: give one such as"),
        (("run", "tiny.toml", "--shard", "-1/2"), "is not a share: give one such as"),
    ],
)
def test_a_number_that_is_none_is_a_message_and_status_2(fobench, tiny, words, message):
    ran = fobench(*words)
    assert ran.exit_code == 2
    assert message in ran.output


def test_a_damaged_record_is_reported_before_anything_trains(fobench, tiny, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(tiny.read_text().replace('"tiny"', '"other"'))
    assert fobench("run", other, "--only", "_baseline_").exit_code == 0
    (record,) = tmp_path.glob("results/other/*/run.json")
    record.write_text(record.read_text()[:100])
    ran = fobench("run", tiny, other)
    assert ran.exit_code == 2
    assert str(record.relative_to(tmp_path)) in ran.output
    assert not list(tmp_path.glob("results/tiny/*/run.json"))


@pytest.mark.parametrize("family", EXAMPLES)
@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_files_like_those_of_medmnist_train_by_path(fobench, tiny, tmp_path, family, shape):
    """Grey or colour, labels in a column of bytes, a validation split of their own, no classes."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 55), ("val", 10), ("test", 20)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 9).astype(np.uint8)[:, None]
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    options = "".join(f"{key} = {value}\n" for key, value in EXAMPLES[family].items())
    head, _, rest = tiny.read_text().partition('name = "densenet"\ndepth = 10\ngrowth_rate = 4\n')
    tiny.write_text(f'{head}name = "{family}"\n{options}{rest}')
    words = ("run", tiny, "--set", "data.dataset=./pathmnist.npz", "--only", "t0.30")
    ran = fobench(*words, "--set", "train.epochs=1")
    assert ran.exit_code == 0, ran.output
    (record,) = tmp_path.glob("results/tiny/*/run.json")
    used = json.loads(record.read_text())["run"]["data_used"]
    assert (used["name"], used["classes"]) == ("pathmnist", 9)
    assert used["image_shape"] == [*shape, 1][:3]


@pytest.mark.parametrize("command", ["run", "predict"])
def test_what_the_device_cannot_do_is_told_before_anything_is_trained(
    fobench, tiny, tmp_path, command
):
    options = ("--set", "train.precision=tf32", "--set", "train.step=graph")
    ran = fobench(command, tiny, "--device", "cpu", *options)
    assert ran.exit_code == 2
    assert 'tiny: [train] precision = "tf32" is for CUDA devices, not for the cpu' in ran.output
    assert 'tiny: [train] step = "graph" captures CUDA graphs' in ran.output
    assert not (tmp_path / "results").exists()


def test_a_cuda_device_that_is_not_there_is_reported(fobench, tiny, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ran = fobench("run", tiny, "--device", "cuda")
    assert ran.exit_code == 2
    assert "no CUDA device" in ran.output


def test_runs_without_their_baseline_are_reported(fobench, tiny, caplog):
    """The curves are drawn all the same; there is no time saved to draw."""
    tiny.write_text(tiny.read_text().replace("[1.0, 0.5]", "0.5"))
    ran = fobench("run", tiny, "--set", "train.epochs=1", "--only", "t0.30")
    assert ran.exit_code == 0
    assert "has no baseline" in caplog.text
    drawn = fobench("plot", "results/tiny", "--kind", "curves")
    assert drawn.exit_code == 0
    assert "no time saved measured for FreezeOut linear, scaled rates, t0 = 0.3" in drawn.output
    missed = fobench("plot", "results/tiny")
    assert missed.exit_code == 2
    assert "no run has its baseline" in missed.output


def test_runs_that_no_longer_belong_are_reported(fobench, tiny, caplog):
    words = ("run", tiny, "--only", "_baseline_", "--set")
    assert fobench(*words, "train.epochs=1").exit_code == 0
    assert "no part of" not in caplog.text
    assert fobench(*words, "train.epochs=2").exit_code == 0
    assert ": 1 run, no part of the experiment any more" in caplog.text


def test_plot_writes_the_figure_it_names(fobench, tiny_results, tmp_path):
    ran = fobench("plot", tiny_results, "-o", "deep/figure.svg", "--kind", "curves")
    assert ran.exit_code == 0, ran.output
    assert ran.output.strip() == "deep/figure.svg"
    assert (tmp_path / "deep/figure.svg").exists()
    wrong = fobench("plot", tiny_results, "-o", "figure.bmp")
    assert wrong.exit_code == 2
    assert ".png, .svg, .pdf" in wrong.output


def test_data_lists_what_is_prepared(fobench, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)
    np.savez(root / "mine.npz", train_images=images, train_labels=labels, test_images=images,
             test_labels=labels)  # fmt: skip
    (root / "broken.npz").write_bytes(b"PK")
    ran = fobench("data", "--data-root", root)
    assert ran.exit_code == 0
    assert "mine: 4 training and 4 test images, 8x8x3, 4 classes" in ran.output
    assert "broken: damaged" in ran.output
    assert "not prepared: cifar10, cifar100" in ran.output
