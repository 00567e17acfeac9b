"""A Ray cluster of two nodes, and what befalls it while `fobench run --on ray` trains.

    python -m tests.sweep.ray.two_nodes CONFIG FOLDER

It prints, as JSON, the exit statuses and the output of each command. Each node has a host's name
and a lock of its own, as machines do.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from ray.cluster_utils import Cluster

from fobench.records.heartbeat import read_heartbeat

PATIENCE = 240.0
EPOCHS = 3
OUTPUT = Path("output")
# A lost node, within seconds instead of a minute.
SOON_NOTICED = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


class TwoNodes:
    """The cluster, and the folder in which commands train."""

    def __init__(self, config: Path, folder: Path) -> None:
        self.config, self.folder = config, folder
        small = {"include_dashboard": False, "object_store_memory": 80 << 20, "num_cpus": 0}
        head = small | {"_system_config": SOON_NOTICED}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._names = iter("abcdef")
        self.nodes = {}
        self.add_node()
        self.add_node()

    def add_node(self, **variables: str) -> None:
        name = next(self._names)
        own = {"FOBENCH_HOST": name, "FOBENCH_LOCK": str(self.folder / f"lock-{name}")}
        self.nodes[name] = self._cluster.add_node(
            num_cpus=1, resources={"machine": 1}, env_vars=own | variables
        )

    def remove_node(self, name: str) -> None:
        """As if it had lost power."""
        self._cluster.remove_node(self.nodes.pop(name), allow_graceful=False)

    def start(self, results: str, *more: str) -> subprocess.Popen:
        words = ["run", str(self.config), "--device", "cpu", "--results", results, *more]
        words += ["--on", "ray", "--address", self._cluster.address, "--resources", "machine=1"]
        with OUTPUT.open("w") as file:
            command = [sys.executable, "-m", "fobench", *words]
            return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    def end(self) -> None:
        self._cluster.shutdown()

    def workers(self, results: str, count: int = 2, but: Collection[int] = ()) -> dict[str, int]:
        """Processes by the runs that they train, once there are so many with some epochs."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = {}
            for folder in Path(results).glob("*/*/"):
                heard, rows = read_heartbeat(folder), folder / "epochs.csv"
                begun = heard and rows.exists() and len(rows.read_text().splitlines()) > EPOCHS
                if begun and heard.process not in but:
                    found[folder.name] = heard.process
            if len(found) >= count:
                return found
            time.sleep(0.2)
        raise TimeoutError(f"{count} runs under way: {OUTPUT.read_text()}")


def ended(process: subprocess.Popen) -> dict[str, object]:
    process.wait(timeout=PATIENCE)
    return {"exit": process.returncode, "output": OUTPUT.read_text()}


def lose_a_worker_and_a_node(cluster: TwoNodes) -> dict[str, object]:
    """A worker is killed; then the node of the other block goes, and a new one comes."""
    process = cluster.start("lost")
    before = cluster.workers("lost")
    killed = min(before)
    os.kill(before[killed], signal.SIGKILL)
    after = cluster.workers("lost", but=[before[killed]])
    other = max(after, key=lambda each: each != killed)
    environ = Path(f"/proc/{after[other]}/environ").read_text().split("\0")
    (gone,) = (each.partition("=")[2] for each in environ if each.startswith("FOBENCH_HOST="))
    cluster.remove_node(gone)
    cluster.add_node()
    return ended(process) | {"killed": killed, "other": other, "gone": gone}


def stop_and_resume(cluster: TwoNodes) -> list[dict[str, object]]:
    """Ctrl-C, then the time limit, then to the end."""
    process = cluster.start("stopped")
    cluster.workers("stopped")
    process.send_signal(signal.SIGINT)
    found = [ended(process)]
    found.append(ended(cluster.start("stopped", "--time-limit", "12s")))
    found.append(ended(cluster.start("stopped")))
    return found


def mistake_on_a_node(cluster: TwoNodes) -> dict[str, object]:
    """The only node that is left has no folder for its lock."""
    for name in list(cluster.nodes):
        cluster.remove_node(name)
    cluster.add_node(FOBENCH_LOCK="/nowhere/lock")
    return ended(cluster.start("mistake"))


def main() -> None:
    config, folder = map(Path, sys.argv[1:])
    cluster = TwoNodes(config, folder)
    os.chdir(folder)
    try:
        told = {
            "lost": lose_a_worker_and_a_node(cluster),
            "stopped": stop_and_resume(cluster),
            "mistake": mistake_on_a_node(cluster),
        }
    finally:
        cluster.end()
    print("TOLD", json.dumps(told))


if __name__ == "__main__":
    main()
