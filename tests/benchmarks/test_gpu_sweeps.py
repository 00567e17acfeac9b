"""The script that trains sweeps on a GPU, rehearsed on the CPU."""

import json
import sys
import tarfile

import pytest

from tests.benchmarks.gpu_scripts import FOLDER, run_script
from tests.conftest import TINY


@pytest.mark.slow
def test_sweeps_are_trained_one_after_another_and_packed_with_their_profiles(tmp_path):
    configs = [tmp_path / f"{name}.toml" for name in ("first", "second")]
    for config in configs:
        config.write_text(TINY)
    where = {"PYTHON": sys.executable, "DEVICE": "cpu", "RESULTS": str(tmp_path / "results")}
    only = {"OPTIONS": "--set experiment.seeds=[1]", "OUT": str(tmp_path)}
    ran = run_script(FOLDER / "sweeps.sh", 300, 2, *configs, **where, **only)
    assert ran.returncode == 0, ran.stderr
    with tarfile.open(tmp_path / "sweeps.tar.gz") as packed:
        names = packed.getnames()
        for name in ("gpu-first", "gpu-second"):
            runs = [each for each in names if each.startswith(f"./{name}/densenet")]
            assert len([each for each in runs if each.endswith("epochs.csv")]) == 4
            records = [each for each in runs if each.endswith("run.json")]
            for each in records:
                record = json.load(packed.extractfile(each))
                assert (record["status"], record["timed"]) == ("finished", False)
                assert record["predictions"]["profile"]["file"]
            assert any(each.startswith(f"./{name}/profile-") for each in names)
        assert {each.split("_seed")[1][0] for each in names if "_seed" in each} == {"1"}


def test_without_configs_it_says_how_to_call_it():
    ran = run_script(FOLDER / "sweeps.sh")
    assert ran.returncode == 2
    assert "sweeps.sh SECONDS JOBS CONFIG..." in ran.stderr
