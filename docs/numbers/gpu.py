"""What was measured on a GPU."""

import subprocess
import sys

from docs.numbers.pages import RESULTS, ROOT
from docs.numbers.words import experiment
from fobench.evidence import clock_noise
from fobench.report.tables import predictions_table

CARD = RESULTS / "gpu-h100"


def shown() -> dict[str, str]:
    steps, saved = printed_by("tables.py").strip().split("\n\n")
    timed = experiment("gpu-timed")
    noise = clock_noise.noise_of_repeats(timed.table)
    return {
        "gpu-steps": steps,
        "gpu-saved": saved,
        "gpu-timed": predictions_table(timed).markdown().rstrip(),
        "gpu-noise": f"{noise.percent:.1f}",
        "cuda-passed": str(tests().count("PASSED")),
    }


def printed_by(script: str, *words: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / script), str(CARD), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tests() -> list[str]:
    """How each test that needs CUDA ended, as the first word of its line."""
    return [line.partition(" ")[0] for line in (CARD / "tests.txt").read_text().splitlines()]
