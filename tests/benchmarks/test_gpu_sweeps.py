"""The script that trains sweeps on a GPU, rehearsed on the CPU."""

import json
import sys

import pytest

from tests.benchmarks.gpu_scripts import FOLDER, run_script
from tests.conftest import TINY

SWEEPS = FOLDER / "sweeps.sh"


@pytest.fixture
def configs(tmp_path):
    paths = [tmp_path / f"{name}.toml" for name in ("first", "second")]
    for path in paths:
        path.write_text(TINY)
    return paths


def environment(tmp_path) -> dict[str, str]:
    only = "--set experiment.seeds=[1]"
    results, out = str(tmp_path / "results"), str(tmp_path / "logs")
    return {"PYTHON": sys.executable, "DEVICE": "cpu", "RESULTS": results, "OUT": out} | {
        "OPTIONS": only
    }


@pytest.mark.slow
def test_sweeps_are_trained_one_after_another_with_their_profiles(configs, tmp_path):
    ran = run_script(SWEEPS, 300, 2, *configs, **environment(tmp_path))
    assert ran.returncode == 0, ran.stderr
    for name in ("gpu-first", "gpu-second"):
        folder = tmp_path / "results" / name
        assert list(folder.glob("profile-*.json"))
        records = [json.loads(path.read_text()) for path in folder.glob("*_seed1-*/run.json")]
        assert len(records) == 4
        for record in records:
            assert (record["status"], record["timed"]) == ("finished", False)
            assert record["predictions"]["profile"]["file"]
        assert not list(folder.glob("*_seed0-*"))


@pytest.mark.slow
def test_a_config_that_is_wrong_fails_and_the_next_is_trained(configs, tmp_path):
    first, second = configs
    first.write_text("[experiment]")
    ran = run_script(SWEEPS, 300, 2, first, second, **environment(tmp_path))
    assert ran.returncode == 2
    assert "Error: " in (tmp_path / "logs" / "first.log").read_text()
    assert len(list((tmp_path / "results" / "gpu-second").glob("*/run.json"))) == 4


def test_without_time_nothing_is_started(configs, tmp_path):
    ran = run_script(SWEEPS, 5, 2, *configs, **environment(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert not list((tmp_path / "logs").iterdir())


@pytest.mark.parametrize("words", [(), ("300", "2")])
def test_without_configs_it_says_how_to_call_it(words):
    ran = run_script(SWEEPS, *words)
    assert ran.returncode == 2
    assert "sweeps.sh SECONDS JOBS CONFIG..." in ran.stderr


def test_configs_of_one_name_are_refused(tmp_path):
    ran = run_script(SWEEPS, 300, 2, "a/same.toml", "b/same.toml", **environment(tmp_path))
    assert ran.returncode == 2
    assert "several configs are named same" in ran.stderr
