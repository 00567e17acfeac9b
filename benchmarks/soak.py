"""Kills training runs at random moments for as long as asked, and compares what they end with.

    python -m benchmarks.soak [--kills N] [--seed N] [-o OUTPUT.json]

All methods and networks of `tests/faults/kills.py`, in small; each sweep is killed with SIGKILL and
started again until it is done, and then compared, bit for bit, with one that was left alone.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from fobench.machine import environment
from tests.faults.kills import METHODS, NETWORKS, all_sweeps, launching, soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/soak.json"))
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, launching(Path(scratch)) as launcher:
        tally = soak(Path(scratch), launcher, asked.kills, asked.seed, all_sweeps())
    told = vars(tally) | {
        "seed": asked.seed,
        "seconds": round(time.monotonic() - began),
        "methods": list(METHODS),
        "networks": list(NETWORKS),
        "environment": environment.describe(torch.device("cpu")),
    }
    asked.output.write_text(json.dumps(told, indent=1) + "\n")
    print(f"{tally.kills} kills, {tally.resumes} resumes, {len(tally.differences)} differences")
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
