"""A Slurm of two nodes on this machine, which a test starts and ends."""

import math
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo", "scancel", "setpriv")
NODES = ("n1", "n2")
# What a job of the cluster must not get from the test's surroundings.
OWN = ("FOBENCH_LOCK", "FOBENCH_HOST", "OMP_NUM_THREADS")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=8
MessageTimeout=5
KillWait=5
MaxArraySize=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=2000 Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=2000 Gres=gpu:1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed: {', '.join(missing)}"
    return None if os.geteuid() == 0 else "Slurm's daemons need root to start jobs"


needs_slurm = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


@dataclass
class Cluster:
    """Its folder, its daemons by name (slurmctld, n1, n2), and when it last hurried each job."""

    folder: Path
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)
    hurried: dict[str, float] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in OWN}
        return kept | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *words: str | Path, check: bool = True, **environment: str) -> str:
        """What a command prints."""
        ran = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not check or ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr

    def start(self, name: str, *words: str) -> None:
        """Start a daemon in the foreground; it ends with this process."""
        with (self.folder / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def start_node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name)

    def lose_node(self, name: str) -> None:
        """As if it lost its power: all of its processes are gone before any can say so."""
        self.daemons.pop(name).kill()
        its = [pid for pid in self.processes() if f"SLURMD_NODENAME={name}" in environment_of(pid)]
        for pid in [*filter(is_stepd, map(parent_of, its)), *its]:
            kill(pid)

    def jobs(self) -> dict[str, str]:
        """The state of each element that is queued or running, by its id such as 1_2."""
        lines = self.run("squeue", "-h", "-r", "-o", "%F_%K %T").splitlines()
        return dict(line.split() for line in lines)

    def hurry(self) -> None:
        """Spare requeued jobs the two minutes after which they may start."""
        asked = ("-h", "-r", "-t", "PENDING", "-o", "%F_%K %r")
        waiting = [line.partition(" ") for line in self.run("squeue", *asked).splitlines()]
        now = time.monotonic()
        for job in [job for job, _, reason in waiting if reason == "BeginTime"]:
            if now - self.hurried.get(job, -math.inf) > 10:
                self.hurried[job] = now
                # Not "now": its processes may not be gone yet.
                self.run("scontrol", "update", f"JobId={job}", "StartTime=now+2", check=False)

    def processes(self) -> list[int]:
        """Those of jobs and daemons, by the path in their environment."""
        mine = f"SLURM_CONF={self.folder}/slurm.conf"
        pids = [int(each.name) for each in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if pid != os.getpid() and mine in environment_of(pid)]


def environment_of(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return []


def parent_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def is_stepd(pid: int) -> bool:
    """Whether it watches the processes of a job for its node."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd")
    return False


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(what: Callable[[], bool], seconds: float = 180, told: Callable[[], str] = str) -> None:
    """Wait until something is true, or fail with what is told."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster whose nodes are idle; whatever happens, none of its processes stays behind."""
    cluster = Cluster(folder)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=free_ports(3)))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    try:
        cluster.start("slurmctld", "slurmctld", "-D", "-i")
        for node in NODES:
            cluster.start_node(node)
        ask = ("sinfo", "-h", "-N", "-p", "low", "-o", "%t")
        wait_for(
            lambda: cluster.run(*ask, check=False).split() == ["idle"] * len(NODES),
            told=lambda: (folder / "slurmctld.out").read_text(),
        )
        yield cluster
    finally:
        for daemon in cluster.daemons.values():
            daemon.kill()
        for pid in cluster.processes():
            kill(pid)
        for daemon in cluster.daemons.values():
            daemon.wait()
