"""The scripts whose output the pages quote run, in small."""

import json
import os
import subprocess
import sys

import pytest

from docs.numbers.pages import ROOT

TINY = {
    "step_overhead": (
        "module.SIZE += ['data.train_size=16', 'train.batch_size=8', 'train.epochs=1']"
    ),
    "equal_steps": (
        "module.SIZE += ['data.train_size=16', 'train.batch_size=8']\n"
        "module.PAIRS, module.NETWORKS = 2, {'densenet': []}"
    ),
    "jobs": (
        "module.SIZE += ['data.train_size=16', 'train.batch_size=8', 'train.epochs=3']\n"
        "module.REPETITIONS, module.NETWORKS = 2, ('wideresnet',)"
    ),
    "checkpoint_cost": (
        "module.SIZE += ['train.epochs=20', 'data.train_size=16', 'train.batch_size=16']\n"
        "module.CONFIGS = module.CONFIGS.parent / 'quick'"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_script_writes_what_it_measured(name, tmp_path):
    code = f"import benchmarks.{name} as module\n{TINY[name]}\nmodule.main()"
    output = tmp_path / "out.json"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(output)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    committed = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())
    written = json.loads(output.read_text())
    assert written["measured"][0].keys() == committed["measured"][0].keys()
