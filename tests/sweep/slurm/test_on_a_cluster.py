"""A sweep on a real Slurm ends as one that nothing disturbed, whatever befalls its jobs."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from fobench.evidence.pairs import table
from fobench.records.experiments import read_experiment
from fobench.records.runs import read_run
from tests.faults.kills import differences
from tests.sweep.slurm.cluster import Cluster, environment_of, needs_slurm, running, wait_for

# In a job it takes the seconds a step that a file says, so that it can be disturbed in its midst.
NETWORK = """
import os, pathlib, time
from torch import nn

class Head(nn.Linear):
    def forward(self, x):
        paces = pathlib.Path("paces", os.environ.get("SLURM_ARRAY_TASK_ID", "none"))
        if self.training and paces.exists():
            time.sleep(float(paces.read_text()))
        return super().forward(x)

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
        self.head = Head(8, num_classes)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))
"""
CONFIG = """
[experiment]
name = "swept"
seeds = [0, 1, 2]
[data]
dataset = "synthetic"
train_size = 45
validation = 10
test_size = 20
[model]
name = "./net.py:Net"
[train]
epochs = 20
batch_size = 10
[[method]]
name = "baseline"
[[method]]
name = "freezeout"
scaling = "linear"
t0 = 0.3
"""
SLOW, FAST = 0.25, 0.0  # seconds a step, of which an epoch has five
COMMAND = (sys.executable, "-P", "-m", "fobench")


class Swept:
    """The sweep, in the folder of its cluster. Element i of a job trains the runs of seed i - 1."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.folder = cluster, cluster.folder
        self.results = self.folder / "results" / "swept"
        (self.folder / "net.py").write_text(NETWORK)
        (self.folder / "swept.toml").write_text(CONFIG)
        (self.folder / "paces").mkdir()
        for element in (1, 2, 3):
            self.set_pace(element, SLOW)

    def train_undisturbed(self) -> subprocess.Popen:
        """Start the same sweep outside of Slurm, with as many threads."""
        return subprocess.Popen(
            [*COMMAND, "run", "swept.toml", "--results", "alone", "--device", "cpu"],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=(self.folder / "alone.log").open("w"),
        )

    def submit(self, *options: str, words: Sequence[str] = ()) -> str:
        """What `fobench submit` prints, with these options of sbatch and words of its own."""
        command = (*COMMAND, "submit", "swept.toml", "--device", "cpu", *words)
        return self.cluster.run(*command, "--", "--cpus-per-task=1", *options)

    def set_pace(self, element: int, seconds: float) -> None:
        (self.folder / "paces" / str(element)).write_text(str(seconds))

    def rows(self, element: int) -> int:
        """The epochs that are written of an element's runs."""
        tables = self.results.glob(f"*seed{element - 1}*/epochs.csv")
        return sum(len(path.read_text().splitlines()) - 1 for path in tables)

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until something is true, while nothing waits for the two minutes of a requeue."""

        def is_so() -> bool:
            self.cluster.hurry()
            return what()

        wait_for(is_so, told=self.told)

    def wait_for_epochs(self, element: int) -> None:
        """Wait until it has finished one more."""
        before = self.rows(element)
        self.wait_for(lambda: self.rows(element) > before)

    def wait_for_line(self, element: str, text: str) -> None:
        self.wait_for(lambda: text in self.log(element))

    def wait_until(self, element: str, state: str | None) -> None:
        self.wait_for(lambda: self.cluster.jobs().get(element) == state)

    def node(self, element: int) -> str:
        """Where its block began."""
        return (self.results / "slurm" / f"seed{element - 1}.node").read_text().strip()

    def log(self, element: str) -> str:
        path = self.results / "slurm" / f"{element}.log"
        return path.read_text() if path.exists() else ""

    def told(self) -> str:
        logs = sorted(self.results.glob("slurm/*.log"))
        ends = ("\n".join(path.read_text().splitlines()[-9:]) for path in logs)
        return "\n\n".join([str(self.cluster.jobs()), *ends])


@pytest.fixture
def swept(tmp_path) -> Iterator[Swept]:
    with running(tmp_path / "cluster") as cluster:
        yield Swept(cluster)


@needs_slurm
def test_a_disturbed_sweep_ends_as_an_undisturbed_one(swept):
    cluster = swept.cluster
    alone = swept.train_undisturbed()
    job = re.match("Submitted job ([0-9]+): 3 of 3 seeds", swept.submit())[1]
    first, second, third = (f"{job}_{element}" for element in (1, 2, 3))
    cluster.run("scontrol", "update", f"JobId={first}", "TimeLimit=1")

    # Two nodes, three elements. The second is requeued by somebody, the third takes its place.
    swept.wait_for_epochs(2)
    cluster.run("scontrol", "requeue", second)
    swept.wait_for_line(second, "Stopped by SIGTERM: the same command resumes from here")

    # A job of higher priority takes the third's node, and then the second comes back.
    swept.wait_for_epochs(3)
    lost, other = swept.node(3), swept.node(1)
    assert lost != other
    cluster.run("sbatch", "-p", "high", "--exclusive", "-w", lost, "--wrap", "sleep 1")
    swept.wait_for_line(third, "DUE TO PREEMPTION")

    # The third is cancelled and submitted again, while the others are under way.
    cluster.run("scancel", third)
    swept.wait_until(third, None)
    told = swept.submit(f"--nodelist={other}")
    assert f"seed 0 is under way, job {first}" in told
    assert f"seed 1 is under way, job {second}" in told
    again = re.search("Submitted job ([0-9]+): 1 of 3 seeds", told)[1]
    third = f"{again}_3"
    swept.set_pace(2, FAST)

    # The first runs out of time and queues itself for its node. The third gets that one before, as
    # it was asked for, and leaves for the node where its runs began.
    swept.wait_for_line(first, f"job {first} is queued again, for node {other}")
    swept.wait_for_line(third, f"Stopped by a requeue onto node {lost}")
    swept.set_pace(1, FAST)
    swept.wait_until(second, None)

    # That node is lost while the third trains, which would wait for it without end.
    swept.wait_for_epochs(3)
    cluster.lose_node(lost)
    swept.wait_until(third, "PENDING")
    assert f"job {third} waited for node {lost}, which is down" in swept.submit()
    swept.set_pace(3, FAST)
    swept.wait_for(lambda: not cluster.jobs())
    assert f"node {lost}, where these runs began, is down" in swept.log(third)
    assert "swept: nothing to submit, 0 of 6 runs to do" in swept.submit()

    assert alone.wait() == 0
    require_the_same(swept.folder / "alone" / "swept", swept.results)
    hosts = hosts_of(swept.results)
    assert {seed: len(found) for seed, found in hosts.items()} == {0: 1, 1: 1, 2: 2}
    assert hosts[0] != hosts[1]
    # The report compares those that stayed together, and no others.
    pairs = table(read_experiment(swept.results)[0])
    freezeout = pairs[pairs["id"].str.contains("freezeout")].set_index("seed")
    assert freezeout["error_points"].notna().to_dict() == {0: True, 1: True, 2: False}


def require_the_same(alone: Path, disturbed: Path) -> None:
    """All runs are finished with the bits of the undisturbed ones, and some were resumed."""
    resumes = Counter[int]()
    folders = [each.parent for each in alone.glob("*/run.json")]
    assert len(folders) == 6
    for folder in folders:
        whole, resumed = read_run(folder), read_run(disturbed / folder.name)
        assert differences(whole, resumed) == []
        resumes[resumed.record["run"]["seed"]] += len(resumed.record["resumed_at"])
    assert all(resumes[seed] for seed in (0, 1, 2))


def hosts_of(results: Path) -> dict[int, set[str]]:
    """Where the runs of each seed were trained."""
    hosts: dict[int, set[str]] = {}
    for path in results.glob("*/run.json"):
        record = read_run(path.parent).record
        places = [record["environment"], *record["resumed_at"]]
        hosts.setdefault(record["run"]["seed"], set()).update(each["host"] for each in places)
    return hosts


@pytest.mark.slow
@needs_slurm
def test_several_processes_train_a_run_and_all_hear_slurm(swept):
    """Requeued in their midst they resume, and none stays behind."""
    cluster = swept.cluster
    told = swept.submit("--time=9", words=("--only", "seed0", "--processes", "2"))
    job = re.search("Submitted job ([0-9]+): 1 of 3 seeds", told)[1]
    swept.wait_for_epochs(1)
    cluster.run("scontrol", "requeue", f"{job}_1")
    swept.wait_for_line(f"{job}_1", "Stopped by SIGTERM: the same command resumes from here")
    swept.set_pace(1, FAST)
    swept.wait_for(lambda: not cluster.jobs())
    records = [read_run(path.parent).record for path in swept.results.glob("*/run.json")]
    assert [each["status"] for each in records] == ["finished"] * 2
    assert [each["environment"]["ranks"] for each in records] == [2, 2]
    assert any(each["resumed_at"] for each in records)
    assert not [pid for pid in cluster.processes() if "RANK=1" in environment_of(pid)]
