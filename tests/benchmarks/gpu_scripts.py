"""Runs the scripts that measure on a GPU."""

import os
import subprocess

from docs.numbers.pages import ROOT

FOLDER = ROOT / "benchmarks" / "gpu"


def run_script(*words, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
