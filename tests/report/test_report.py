"""The report says what the files say, warns of what is weak, and lives with damaged folders."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fobench.errors import UserError
from fobench.evidence import clock_noise
from fobench.evidence.results import read_results
from fobench.figures import speedup_error
from fobench.figures.export import draw
from fobench.records.epochs import write_epochs
from fobench.records.experiments import write_experiment
from fobench.records.runs import read_record, read_run, write_record
from fobench.report.report import report
from tests.cli.test_commands import imported_by


@pytest.fixture
def copied(tiny_results, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_results, tmp_path / "copied" / "tiny"))


def change(folder: Path, seconds: float = 1.0, **changes) -> None:
    """Rewrite a finished run with other times and another record."""
    read = read_run(folder)
    rows = [
        replace(row, total_train_seconds=seconds * row.total_train_seconds) for row in read.epochs
    ]
    sha256 = write_epochs(folder, rows)
    record = {key: cell for key, cell in read.record.items() if key != "format"}
    write_record(folder, record | {"epochs_sha256": sha256} | changes)


def with_share(folder: Path, share: float) -> None:
    """Rewrite a run: it took a second per epoch, and `share` seconds of the processors."""
    read = read_run(folder)
    rows = [
        replace(
            row,
            train_seconds=1.0,
            total_train_seconds=float(row.epoch),
            train_cpu_seconds=share,
        )
        for row in read.epochs
    ]
    record = {key: cell for key, cell in read.record.items() if key != "format"}
    write_record(folder, record | {"epochs_sha256": write_epochs(folder, rows)})


def report_of(*folders: Path, **options) -> str:
    return report(*read_results(list(folders), **options))


def row_of(text: str, method: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {method} |")][:1]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_a_method_with_what_its_files_say(tiny_results):
    text = report_of(tiny_results)
    (panel,), _ = read_results([tiny_results])
    runs = {run.id: run for run in panel.runs}
    frozen = next(run for run in panel.runs if "t0.30" in run.id)
    baseline = runs[frozen.record["baseline"]]
    ratio = frozen.epochs[-1].total_train_seconds / baseline.epochs[-1].total_train_seconds
    cells = row_of(text, "FreezeOut linear, scaled rates, t0 = 0.3")
    assert cells[1:4] == ["1", "1", "15"]
    assert cells[4] == f"{round(100 * (1 - ratio), 1) + 0.0:.1f}"
    assert cells[5] == f"{1 / ratio:.2f}"
    assert cells[7] == f"{frozen.epochs[-1].test_error:.1f}"
    points = frozen.epochs[-1].test_error - baseline.epochs[-1].test_error
    assert cells[8] == f"{round(points, 1) + 0.0:+.1f}"
    assert row_of(text, "baseline")[4:7] == ["0", "1", "0"]
    assert "DenseNet-BC 10-4 on synthetic" in text
    assert "n = 1 for some methods: no interval" in text
    assert "Repeats (A/A): none" in text
    assert panel.runs[0].record["environment"]["versions"]["torch"] in text


def test_what_is_weak_is_warned_of(copied):
    first, second, third, _ = sorted(path.parent for path in copied.glob("*/run.json"))
    for folder in copied.glob("densenet*"):
        with_share(folder, 1.0)
    change(first, resumed=True)
    environment = read_record(second)["environment"]
    change(second, environment=environment | {"host": "other", "dirty": True})
    text = report_of(copied)
    assert f"resumed, so its time is in pieces and left out: {first.name}" in text
    assert "the runs come from several machines" in text
    assert "uncommitted changes" in text
    # Its baseline is resumed or elsewhere: whether it is on the front is unknown.
    assert "–" in row_of(text, "FreezeOut linear, scaled rates, t0 = 0.3")[4:12]
    taken = report_of(copied, include_resumed=True)
    assert f"resumed, so its time is in pieces and included: {first.name}" in taken
    assert third.name not in text


def test_a_run_that_waited_for_others_is_warned_of(fobench, tiny, tmp_path):
    words = ("run", tiny, "--set", "experiment.seeds=[0, 1, 2]", "--set", "train.epochs=1")
    assert fobench(*words, "--only", "_baseline_").exit_code == 0
    for path in tmp_path.glob("results/tiny/*/run.json"):
        share = 0.5 if "seed1" in path.parent.name else 2.0
        read = read_run(path.parent)
        rows = [replace(row, train_cpu_seconds=share * row.train_seconds,
                        total_train_seconds=row.train_seconds) for row in read.epochs]  # fmt: skip
        sha256 = write_epochs(path.parent, rows)
        record = read_record(path.parent)
        write_record(path.parent, record | {"epochs_sha256": sha256})
    text = report_of(tmp_path / "results" / "tiny")
    assert "0.50 processor seconds per second, while runs of its method usually have 2.00" in text
    assert text.count("processor seconds per second") == 1


def test_repeats_show_the_noise_of_the_clock(fobench, tiny, tmp_path):
    words = ("run", tiny, "--set", "experiment.repeats=2", "--set", "train.epochs=1")
    assert fobench(*words, "--only", "_baseline_").exit_code == 0
    (panel,), _ = read_results([tmp_path / "results" / "tiny"])
    found = clock_noise.noise_of_repeats(panel.table)
    text = report_of(tmp_path / "results" / "tiny")
    assert found.degrees == 1
    assert f"Repeats (A/A): standard deviation {found.percent:.1f} % (1 degree of" in text
    assert "Their test errors are equal to the last digit." in text


def test_runs_that_were_lost_are_warned_of(copied):
    victim = next(copied.glob("*t0.30*"))
    record = read_record(victim)
    write_record(victim, record | {"status": "diverged", "reason": "loss"})
    text = report_of(copied)
    assert "1 run diverged or failed: means are over the others" in text
    assert "| FreezeOut linear, scaled rates, t0 = 0.3 |" not in text


def test_resumed_runs_stay_out_of_seconds_and_in_errors(copied, tiny_results):
    first = next(copied.glob("*_baseline_seed0*"))
    change(first, seconds=1000.0, resumed=True)
    (panel,), _ = read_results([copied])
    (row, runs), *_ = panel.variants()
    assert len(runs) == 1
    assert panel.timed(runs) == []
    assert row["error"] == runs[0].epochs[-1].test_error
    for kind in ("curves", "time", "schedule"):
        draw([panel], kind, copied / "figure.svg")
    with pytest.raises(UserError, match="--include-resumed"):
        draw([panel], "speedup-error", copied / "figure.svg")


def test_experiments_without_pairs_do_not_stop_the_others(copied, tiny_results):
    change(next(copied.glob("*_baseline_seed0*")), resumed=True)
    panels, notes = read_results([copied, tiny_results])
    assert len(speedup_error.draw(panels).axes) == 1
    assert any("no time saved measured" in note and str(copied) in note for note in notes)


def test_one_figure_that_cannot_be_drawn_does_not_stop_the_others(fobench, copied, tmp_path):
    change(next(copied.glob("*_baseline_seed0*")), resumed=True)
    ran = fobench("plot", copied, "--kind", "all", "-o", tmp_path / "figures")
    assert ran.exit_code == 0
    assert "Note: no speedup-error: " in ran.output
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert drawn == ["curves.svg", "schedule.svg", "time.svg"]


def test_an_experiment_of_untimed_runs_is_reported_and_drawn(fobench, copied, tmp_path):
    """Their seconds are nowhere, their errors are."""
    for path in copied.glob("*/run.json"):
        change(path.parent, seconds=12345.0, timed=False)
    text = report_of(copied)
    cells = row_of(text, "FreezeOut linear, scaled rates, t0 = 0.3")
    assert cells[1:3] == ["1", "0"]
    assert cells[4:7] == ["–", "–", "–"]
    assert cells[8] != "–"
    assert "runs trained beside others, 4 of 4:" in text
    assert "| baseline | 1 of 1 | 0 | – |" in text
    assert "no run's time counts" in text
    ran = fobench("plot", copied, "--kind", "all", "-o", tmp_path / "figures")
    assert ran.exit_code == 0
    assert "Note: no time: " in ran.output
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert drawn == ["curves.svg", "schedule.svg"]


def test_an_experiment_without_validation_is_reported_and_drawn(fobench, tiny, tmp_path):
    words = ("run", tiny, "--set", "data.validation=0", "--set", "train.epochs=1")
    assert fobench(*words, "--only", "t0.30").exit_code == 0
    text = fobench("report", "results/tiny").output
    assert "Time to a validation error" not in text, "none was measured"
    ran = fobench("report", "results/tiny", "--target-error", "50")
    assert ran.exit_code == 2
    assert "no run here has validation images" in ran.output
    assert fobench("plot", "results/tiny", "--kind", "all").exit_code == 0


def test_the_time_to_a_target(fobench, tiny_results):
    assert fobench("report", tiny_results, "--target-error", "0").exit_code == 0
    text = fobench("report", tiny_results, "--target-error", "0").output
    assert "Time to a validation error of 0.00 %" in text
    assert "| baseline | 0 of 1 | 1 | never |" in text
    usual = fobench("report", tiny_results).output
    assert "| baseline | 1 of 1 | 1 | " in usual


def test_the_command_writes_a_file_without_torch_or_matplotlib(tiny_results, tmp_path):
    output = tmp_path / "deep" / "report.md"
    imported = imported_by("report", str(tiny_results), "-o", str(output))
    assert not imported & {"torch", "matplotlib"}
    assert output.read_text(encoding="utf-8") == report_of(tiny_results)


def damage_list(folder: Path) -> None:
    (folder / "experiment.json").write_text("{")


def damage_run(folder: Path) -> None:
    next(folder.glob("*t1.00*/run.json")).write_text("{")


def half_written(folder: Path) -> None:
    next(folder.glob("*t1.00*/epochs.csv")).unlink()


@pytest.mark.parametrize(
    ("damage", "runs_left"), [(damage_list, 0), (damage_run, 3), (half_written, 3)]
)
@pytest.mark.parametrize("command", ["plot", "report"])
def test_what_is_sound_is_used_and_the_rest_is_reported(
    fobench, copied, tiny_results, tmp_path, damage, runs_left, command
):
    damage(copied)
    both = fobench(command, tiny_results, copied, "-o", tmp_path / "out.svg")
    assert both.exit_code == 0, both.output
    alone = fobench(command, copied, "-o", tmp_path / "alone.svg")
    assert alone.exit_code == (0 if runs_left else 2)
    panels, notes = read_results([tiny_results, copied])
    assert [len(panel.runs) for panel in panels] == [4, runs_left][: 1 + bool(runs_left)]
    assert any(str(copied) in note for note in notes)
    if command == "report":
        assert "## Left out" in (tmp_path / "out.svg").read_text(encoding="utf-8")


def test_figures_go_to_the_first_folder_that_has_results(fobench, copied, tmp_path):
    ran = fobench("plot", "results/typo", copied)
    assert ran.exit_code == 0
    assert (copied / "speedup-error.svg").exists()
    assert not (tmp_path / "results" / "typo").exists()
    nowhere = fobench("plot", copied, "--kind", "all", "-o", "/proc/none")
    assert nowhere.exit_code == 2
    assert "/proc/none cannot be written" in nowhere.output


@pytest.mark.parametrize("command", ["plot", "report"])
def test_an_empty_folder_is_reported(fobench, tmp_path, command):
    (tmp_path / "empty").mkdir()
    ran = fobench(command, "empty")
    assert ran.exit_code == 2
    assert "has no experiment.json" in ran.output


@pytest.fixture
def large(tiny_results, tmp_path) -> Path:
    """An experiment of 120 runs of 100 epochs, 12,000 rows."""
    folder = tmp_path / "large"
    sources = [read_run(path.parent) for path in tiny_results.glob("*/run.json")]
    ids = []
    for seed in range(30):
        for source in sources:
            steps = 100 * source.record["steps_per_epoch"]
            rows = [
                replace(source.epochs[0], epoch=epoch, step=epoch * 5, total_train_seconds=epoch,
                        test_error=50.0 + seed)
                for epoch in range(1, 101)
            ]  # fmt: skip
            record = json.loads(json.dumps(source.record)) | {"total_steps": steps}
            record["run"]["seed"] = seed
            record["id"] = run_id = f"{source.id}-{seed}"
            record["baseline"] = f"{source.record['baseline']}-{seed}"
            (folder / run_id).mkdir(parents=True)
            record["epochs_sha256"] = write_epochs(folder / run_id, rows)
            write_record(folder / run_id, record)
            ids.append(run_id)
    write_experiment(folder, "large", ids)
    return folder


@pytest.mark.slow
@pytest.mark.timing
def test_thousands_of_rows_take_seconds(fobench, large, tmp_path):
    began = time.monotonic()
    assert fobench("report", large).exit_code == 0
    assert time.monotonic() - began < 5
    assert fobench("plot", large, "--kind", "all", "-o", tmp_path).exit_code == 0
    assert time.monotonic() - began < 25
