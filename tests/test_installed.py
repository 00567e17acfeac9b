"""fobench installed with pip, in an environment of its own, far from the checkout."""

import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from fobench.experiment.packaged_configs import names_of_configs

ROOT = Path(__file__).parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "results", "build", "*.egg-info", "__pycache__")


@pytest.mark.slow
def test_an_installed_fobench_runs_from_an_empty_folder(tmp_path, monkeypatch):
    """What the wheel lacks would be missing: configs, schema, the report's template."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    source, empty = tmp_path / "source", tmp_path / "empty"
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_COPIED)
    venv.create(tmp_path / "venv", with_pip=True)
    pip = tmp_path / "venv" / "bin" / "pip"
    subprocess.run([pip, "install", "--quiet", source], check=True)
    shutil.rmtree(source)
    empty.mkdir()

    def fobench(*words: str) -> str:
        command = [tmp_path / "venv" / "bin" / "fobench", *words]
        ran = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert fobench("init", "--list").split() == names_of_configs()
    fobench("schema", "-o", "fobench.schema.json")
    fobench("init", "-o", "mine.toml")
    small = ("--set", "train.epochs=1", "--set", "data.train_size=128", "--device", "cpu")
    fobench("run", "quick/densenet", "--only", "_baseline*seed0", *small)
    fobench("run", "mine.toml", "--only", "_baseline_", *small)
    assert len(list(empty.glob("results/*/*/run.json"))) == 4 + 1
    fobench("plot", "results/quick-densenet")
    assert "DenseNet-BC 10-8 on synthetic16" in fobench("report", "results/mine")
