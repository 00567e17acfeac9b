"""The script that measures on a GPU, rehearsed on the CPU: no step's failure stops the others."""

import csv
import json
import os
import sys
import tarfile

import pytest

from tests.benchmarks.gpu_scripts import FOLDER, run_script

TAKING = """
import sys
sys.path.insert(0, {folder!r})
import torch
from measuring import Measurements
from rows import parser_of
from fobench.machine.graphs import CaptureError

def say(text):
    print(text, flush=True)

def fail(error):
    raise error

options = parser_of("").parse_args()
measurements = Measurements(torch.device("cpu"), options.without)
measurements.take("one", lambda: say("one is taken"))
measurements.take("two", lambda: fail(ValueError("two is wrong")))
measurements.take("three, captured", lambda: fail(CaptureError("three is wrong")))
measurements.take("four", lambda: say("four is taken"))
measurements.exit()
"""


@pytest.mark.slow
def test_measurements_go_on_after_failures_in_another_process_if_they_must(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TAKING.format(folder=str(FOLDER)))
    ran = run_script(sys.executable, script, "--device", "cpu", "--out", tmp_path)
    assert ran.returncode == 1
    assert ran.stdout.splitlines() == [
        *("one …", "one is taken", "two …", "three, captured …"),
        "the process can use the device no longer: another one goes on",
        *("four …", "four is taken"),
    ]
    assert "two is wrong" in ran.stderr
    assert "three is wrong" in ran.stderr


NO_SERVICE = """#!/bin/sh
exit 1
"""
FAKE = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
case "$*" in
  *hardware.py*) exit 7 ;;
  *depths*) kill -9 $$ ;;
esac
"""


def test_a_step_that_fails_does_not_stop_the_others(tmp_path):
    """With an interpreter that fails some steps at once, and does nothing in the others."""
    fake, out = tmp_path / "python", tmp_path / "out"
    for path, script in ((fake, FAKE), (tmp_path / "nvidia-cuda-mps-control", NO_SERVICE)):
        path.write_text(script)
        path.chmod(0o755)
    (tmp_path / "a.whl").touch()
    environment = {"PYTHON": str(fake), "OUT": str(out), "WHEELS": str(tmp_path)}
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    ran = run_script(FOLDER / "measure.sh", **environment)
    assert ran.returncode == 1, ran.stderr
    ended = [line.removeprefix("== ").partition(" after")[0] for line in ran.stdout.splitlines()]
    assert ended == [
        *("wheels: exit status 0", "hardware: exit status 7", "depths: exit status 137"),
        *("tests: exit status 0", "loops: exit status 0", "variants: exit status 0"),
        *("fused: exit status 0", "depths, the rest: exit status 137"),
        *("profile: exit status 0", "timed: exit status 0", "sweeps: exit status 0"),
    ]
    assert "no Multi-Process Service" in (out / "B.log").read_text()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].endswith(f"{tmp_path / 'a.whl'}")
    assert "test_loop.py" in calls[3]
    trained = [call for call in calls if " predict " in call or " run " in call]
    assert len(trained) == 2 + 2 * 3
    on_the_card = [call for call in calls if "benchmarks/gpu" in call] + trained
    assert all("--device cuda" in call for call in on_the_card)


@pytest.mark.parametrize("words", [["C"], ["--device"], ["--device", "tpu"]])
def test_a_wrong_word_is_refused_with_the_usage(words, tmp_path):
    ran = run_script(FOLDER / "measure.sh", *words, OUT=str(tmp_path / "out"))
    assert ran.returncode == 2
    assert "measure.sh [--device cpu] [A|B]" in ran.stderr
    assert not (tmp_path / "out").exists()


def table(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def require_depths(rows: list[dict[str, str]]) -> None:
    """Every depth of the three networks from the pixels, every other one from the activations."""
    for network, units in (
        ("DenseNet-BC 10-4", 7),
        ("VGG-16, width 0.05", 14),
        ("WideResNet 10-1", 5),
    ):
        here = [row for row in rows if row["network"] == network]
        series = [row["series"] for row in here]
        assert [series.count(each) for each in ("start", "middle", "end")] == [1, 1, 1]
        depths = [row for row in here if row["series"] == "depths"]
        pixels = {int(row["frozen"]) for row in depths if row["start"] == "0"}
        stored = {int(row["frozen"]) for row in depths if row["start"] == row["frozen"]}
        assert pixels == set(range(1, units))
        assert stored == {depth for depth in pixels if (units - 1 - depth) % 2 == 0}
    assert all(
        float(row["low"]) <= float(row["milliseconds"]) <= float(row["high"]) for row in rows
    )
    assert {row["mode"] for row in rows} == {"eager"}


@pytest.mark.slow
def test_the_steps_of_the_rehearsal_make_a_figure(tmp_path):
    words = ("depths", "--device", "cpu", "--out", tmp_path)
    ran = run_script(sys.executable, FOLDER / "steps.py", *words)
    assert ran.returncode == 0, ran.stderr
    require_depths(table(tmp_path / "steps.csv"))
    drawn = tmp_path / "figure.svg"
    ran = run_script(sys.executable, FOLDER / "figure.py", tmp_path, "-o", drawn)
    assert ran.returncode == 0, ran.stderr
    assert "operation by operation" in drawn.read_text()


@pytest.mark.slow
def test_the_whole_rehearsal(tmp_path):
    environment = {"PYTHON": sys.executable, "OUT": str(tmp_path)}
    ran = run_script("bash", FOLDER / "measure.sh", "--device", "cpu", **environment)
    logs = [(tmp_path / name).read_text() for name in ("A.log", "B.log")]
    assert ran.returncode == 0, "\n".join(logs)
    assert ran.stdout.count("exit status 0") == len(ran.stdout.splitlines()) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("A.log", "B.log", "hardware.jsonl", "loops.csv"),
        *("runs.tar.gz", "steps.csv", "timed.log"),
    ]
    told = [json.loads(line) for line in (tmp_path / "hardware.jsonl").read_text().splitlines()]
    assert [each["what"] for each in told] == [
        *("environment", "settings", "copy within the device"),
        *("copy to the device", "copy from the device"),
    ]
    rows = table(tmp_path / "steps.csv")
    require_depths([row for row in rows if row["series"] in ("depths", "start", "middle", "end")])
    series = [row["series"] for row in rows]
    assert (series.count("variant"), series.count("plain"), series.count("fused")) == (32, 1, 1)
    loops = [(row["loop"], row["mode"]) for row in table(tmp_path / "loops.csv")]
    assert loops == [("fobench", "eager"), ("plain", "eager"), ("data loader", "eager")]
    require_runs(tmp_path / "runs.tar.gz")


def require_runs(path) -> None:
    with tarfile.open(path) as packed:
        records = {
            name: json.load(packed.extractfile(name))
            for name in packed.getnames()
            if name.endswith("run.json")
        }
        experiments = [name.split("/")[1] for name in records]
    counts = {name: experiments.count(name) for name in experiments}
    assert counts == {"gpu-timed": 12, "small-timed": 12}
    assert {record["status"] for record in records.values()} == {"finished"}
    for name, record in records.items():
        assert record["timed"] == ("gpu-timed" in name)
