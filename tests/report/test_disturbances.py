"""The report warns of runs that a process beside them, a quota or a signal slowed down."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.report.test_report import report_of, with_share

STOPPED_SECONDS = 1.5
# Epochs of a fraction of a second, with nothing between them that takes as long.
SLOW = (
    *("data.train_size=800", "train.epochs=6", "train.batch_size=50"),
    *("experiment.checkpoint_every=3600", "data.validation=50"),
)


@pytest.mark.parametrize(
    ("of_baseline", "of_the_others", "warned"),
    [(1.0, 2.0, True), (2.0, 1.0, True), (1.97, 2.0, False), (1.85, 2.0, False)],
)
def test_pairs_with_other_processor_shares_are_warned_of(
    fobench, tiny, tmp_path, of_baseline, of_the_others, warned
):
    """Baselines under a quota of one CPU, say, and the others without; n = 1."""
    words = ("run", tiny, "--device", "cpu", "--set", "train.epochs=2", "--only")
    for only in ("_baseline_", "t0.30"):
        assert fobench(*words, only).exit_code == 0
    for path in tmp_path.glob("results/tiny/*/run.json"):
        of_baselines = "_baseline_" in path.parent.name
        with_share(path.parent, of_baseline if of_baselines else of_the_others)
    found = (
        f"{of_the_others:.2f} processor seconds per second, while its baseline has "
        f"{of_baseline:.2f}: one of them may have had fewer processors, or shared them: "
    )
    text = report_of(tmp_path / "results" / "tiny")
    assert (found in text) == warned
    assert text.count("processor seconds per second") == warned


def test_shares_of_an_instant_are_not_warned_of(fobench, tiny, tmp_path):
    """Processor time is counted in grains; epochs of milliseconds have any share."""
    words = ("run", tiny, "--device", "cpu", "--set", "train.epochs=2", "--only")
    for only in ("_baseline_", "t0.30"):
        assert fobench(*words, only).exit_code == 0
    for path in tmp_path.glob("results/tiny/*/run.json"):
        with_share(path.parent, 1.0 if "_baseline_" in path.parent.name else 1.2)
    assert "processor seconds per second" not in report_of(tmp_path / "results" / "tiny")


@pytest.mark.timing
def test_a_run_that_was_suspended_is_named_with_one_seed(fobench, tiny, tmp_path):
    """It was stopped and continued within an epoch, as a batch system does."""
    options = [word for option in SLOW for word in ("--set", option)]
    words = ("run", tiny, "--device", "cpu", *options)
    assert fobench(*words, "--only", "_baseline_").exit_code == 0
    process = subprocess.Popen(
        [sys.executable, "-c", "from fobench.cli import main; main()", *words, "--only", "t0.30"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        done, first_epoch = wait_for_rows(tmp_path, process)
        time.sleep(0.05)  # files are written; the next epoch is trained
        process.send_signal(signal.SIGSTOP)
        time.sleep(stopped := max(STOPPED_SECONDS, 3 * first_epoch))
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    text = fobench("report", "results/tiny").output
    (line,) = re.findall(".*may have been suspended.*t0.30.*", text)
    found = re.search(r"epoch (\d+) took ([\d.]+) s, where epochs .* take ([\d.]+) s", line)
    epoch, seconds, expected = int(found[1]), float(found[2]), float(found[3])
    assert epoch > done
    assert seconds > stopped - 0.1
    assert expected < seconds / 1.5


def wait_for_rows(folder: Path, process: subprocess.Popen) -> tuple[int, float]:
    """Wait until the FreezeOut run has trained epochs: how many, and the first one's seconds."""
    while process.poll() is None:
        for path in folder.glob("results/tiny/*t0.30*/epochs.csv"):
            if rows := list(csv.DictReader(path.read_text().splitlines())):
                return len(rows), float(rows[0]["train_seconds"])
        time.sleep(0.005)
    raise AssertionError(f"it ended with {process.returncode}")
