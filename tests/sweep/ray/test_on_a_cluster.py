"""Sweeps on a Ray cluster of two nodes that the test starts, in a network of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import pytest

from fobench.records.runs import read_record
from tests.faults.kills import ROOT, compare, config_of, launching

WITHOUT = {
    "Ray is not installed": find_spec("ray") is None,
    "a network of its own needs root": os.geteuid() != 0,
    "unshare or ip is missing": not (shutil.which("unshare") and shutil.which("ip")),
}
MISSING = [why for why, is_so in WITHOUT.items() if is_so]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=", ".join(MISSING)),
]
# Elsewhere Ray listens on the machine's address.
IN_OWN_NETWORK = ("unshare", "-n", "bash", "-c", 'ip link set lo up && exec "$@"', "_")
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """Three blocks of two runs of 65 epochs, which take seconds; too few steps for a profile."""
    path = tmp_path_factory.mktemp("config") / "sweep.toml"
    text = config_of("sweep", "wideresnet", ["baseline", "linear, scaled"])
    path.write_text(
        text.replace("[data]", "seeds = [0, 1, 2]\n[data]").replace("epochs = 5", "epochs = 65")
    )
    return path


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory) -> Path:
    """The sweep left alone, on this machine."""
    folder = tmp_path_factory.mktemp("alone")
    with launching(folder / "launcher", threads=1) as launcher:
        ended = launcher.run("run", config, "--device", "cpu", "--results", folder / "results")
        assert ended["exit"] == 0, launcher.log.read_text()
    return folder / "results/sweep"


@pytest.fixture(scope="module")
def told(config, tmp_path_factory) -> dict:
    """What `two_nodes` tells, and its folder."""
    folder = tmp_path_factory.mktemp("cluster")
    ran = subprocess.run(
        [*IN_OWN_NETWORK, sys.executable, "-m", "tests.sweep.ray.two_nodes", config, folder],
        cwd=ROOT,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout.partition("TOLD ")[2]) | {"folder": folder}


def hosts(results: Path) -> dict[str, set[str]]:
    """The nodes on which each block was trained, by its seed."""
    found = defaultdict(set)
    for path in results.glob("*/run.json"):
        record = read_record(path.parent)
        resumed = {each["host"] for each in record["resumed_at"]}
        found[record["run"]["seed"]] |= {record["environment"]["host"], *resumed}
    return found


def seed_of(run_id: str) -> int:
    return int(run_id.partition("_seed")[2].partition("-")[0])


def test_a_killed_worker_and_a_lost_node_leave_no_trace(told, alone):
    """But in what says where and when, and a block that was not hit stays on its node."""
    lost, results = told["lost"], told["folder"] / "lost/sweep"
    assert lost["exit"] == 0, lost["output"]
    tally = compare(alone, results)
    assert tally.differences == []
    assert tally.resumes == 2
    assert tally.runs == 6
    assert lost["output"].count("was lost; sweep seed ") == 2
    assert "6 of 6 runs done" in lost["output"]
    hit = {seed_of(lost["killed"]), seed_of(lost["other"])}
    found = hosts(results)
    assert [len(found[seed]) for seed in set(found) - hit] == [1]
    assert len(found[seed_of(lost["other"])]) == 2, "its node was lost"
    assert read_record(results / lost["other"])["timed"]


def test_a_sweep_that_is_stopped_and_out_of_time_resumes_exactly(told, alone):
    stopped, late, last = told["stopped"]
    assert [each["exit"] for each in (stopped, late, last)] == [130, 75, 0], told["stopped"]
    assert stopped["output"].count(" stops in epoch ") == 2
    assert stopped["output"].endswith("Stopped by SIGINT: the same command resumes from here\n")
    assert "Stopped by the time limit: the same command resumes" in late["output"]
    tally = compare(alone, told["folder"] / "stopped/sweep")
    assert tally.differences == []
    assert tally.resumes >= 2
    found = hosts(told["folder"] / "stopped/sweep")
    assert [len(each) for each in found.values()] == [1, 1, 1], "blocks stay on their node"
    left = [path.name for path in told["folder"].glob("*/sweep/*/*")]
    assert set(left) == {"run.json", "epochs.csv"}


def test_a_mistake_that_a_task_finds_is_one_message(told):
    mistake = told["mistake"]
    assert mistake["exit"] == 2
    assert mistake["output"].count("Error: ") == 1
    assert "Error: /nowhere is not a folder: set FOBENCH_LOCK" in mistake["output"]


def test_ray_does_not_print_what_its_workers_do(told):
    """What it says of lost nodes, it may say."""
    for each in (told["lost"], *told["stopped"], told["mistake"]):
        assert "Traceback" not in each["output"]
        assert "pid=" not in each["output"]
