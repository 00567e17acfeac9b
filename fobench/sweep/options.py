"""How a sweep is trained. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fobench.machine.interruption import Deadline


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is trained.

    With `force`, runs that have ended are trained again, and none resumes from a checkpoint. With
    `sharded`, other processes train the rest of the same runs. Up to `jobs` runs are trained at
    once. With `beside_others`, other work is on the machine. Unless `wait`, a machine that another
    process trains on is an error.

    `address` is that of a cluster, and `resources` are what it has to give each block, by name: for
    engines that ask one.
    """

    device: str
    deadline: Deadline
    force: bool = False
    keep_checkpoints: bool = False
    sharded: bool = False
    jobs: int = 1
    beside_others: bool = False
    wait: bool = True
    address: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        """Whether each run has the machine to itself."""
        return self.jobs == 1 and not self.beside_others
