"""What has become of the runs of a sweep, told from their files. No torch.

The time left is that of the images left. A run under way has its own seconds per image; others have
those of runs of the same method in the same experiment, else of all runs of the experiment that
have trained an epoch: training and evaluation together. Before any has, it is unknown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fobench.errors import UserError
from fobench.experiment.run import Run
from fobench.machine.process import has_ended
from fobench.records.epochs import Epoch, read_epochs
from fobench.records.files import exists
from fobench.records.heartbeat import Heartbeat, read_heartbeat
from fobench.records.runs import ENDED, read_run
from fobench.sweep.plan import Plan, blocks_of
from fobench.training.progress import total_images

# While a step is captured, a store built or a network evaluated, a run is not heard.
LOST_AFTER_SECONDS = 600.0
# In the order of columns.
RUNNING, LOST, STOPPED, TO_DO = "running", "lost", "stopped", "to do"
STATUSES = ("finished", RUNNING, LOST, STOPPED, "diverged", "failed", "unreadable", TO_DO)


@dataclass(frozen=True)
class RunState:
    """What has become of a run.

    Attributes:
        status: that of its record; but a run that is not being trained now is "stopped", or "lost"
            if its process seems to have died. "to do" without a record, "unreadable" with one that
            is invalid.
        reason: of a run that diverged, failed or is unreadable.
        rows: of the epochs that are written.
        heartbeat: of a run that is running or lost.
    """

    run: Run
    status: str
    reason: str | None = None
    rows: Sequence[Epoch] = ()
    heartbeat: Heartbeat | None = None

    @property
    def images_done(self) -> int:
        """What its rows say; for a run under way, what it said last if that is more."""
        each, heard = self.run.data_used.train_images, self.heartbeat
        written = min(len(self.rows) * each, total_images(self.run))
        return max(written, heard.images) if heard is not None else written

    @property
    def images_left(self) -> int:
        """Of a run that the present or the next training of the sweep goes on with."""
        if self.status in (*ENDED, "unreadable"):
            return 0
        return total_images(self.run) - self.images_done

    @property
    def epoch(self) -> int:
        """The one that it is in, or would go on with, from 1; the last for a run at its end."""
        return min(self.images_done // self.run.data_used.train_images + 1, self.run.epochs)


@dataclass(frozen=True)
class BlockState:
    """The runs of an experiment with one seed."""

    plan: Plan
    seed: int
    states: tuple[RunState, ...]

    @property
    def title(self) -> str:
        return f"{self.plan.experiment.name} seed {self.seed}"

    @property
    def counts(self) -> Counter[str]:
        """Runs by status."""
        return Counter(state.status for state in self.states)


def states_of(plans: Sequence[Plan]) -> list[BlockState]:
    """The blocks with chosen runs, in their order."""
    blocks = [BlockState(plan, seed, states_in(plan, seed)) for plan, seed in blocks_of(plans)]
    return [block for block in blocks if block.states]


def states_in(plan: Plan, seed: int) -> tuple[RunState, ...]:
    """Those of a block's chosen runs."""
    return tuple(state_of(plan, run) for run in plan.chosen if run.seed == seed)


def state_of(plan: Plan, run: Run) -> RunState:
    folder = plan.folder_of(run)
    try:
        # Before and after the record, which a run that begins or ends then writes.
        heartbeat = read_heartbeat(folder)
        if not exists(folder / "run.json"):
            return RunState(run, TO_DO)
        read = read_run(folder)
    except UserError as error:
        return RunState(run, "unreadable", str(error))
    status, reason = read.record["status"], read.record.get("reason")
    if status == "finished":
        return RunState(run, status, rows=read.epochs)
    try:
        rows = read_epochs(folder) if exists(folder / "epochs.csv") else []
    except UserError:  # without a row yet
        rows = []
    if status != RUNNING:
        return RunState(run, status, reason, rows)
    heartbeat = heartbeat or read_heartbeat(folder)
    if heartbeat is None:
        return RunState(run, STOPPED, rows=rows)
    return RunState(run, LOST if is_lost(heartbeat) else RUNNING, None, rows, heartbeat)


def is_lost(heartbeat: Heartbeat) -> bool:
    """Whether the process that sent it has ended.

    The system tells on the same node. Elsewhere one counts as ended that was not heard for long.
    """
    ended = has_ended(heartbeat.system, heartbeat.process, heartbeat.process_began)
    return heartbeat.seconds_old() > LOST_AFTER_SECONDS if ended is None else ended


class Pace:
    """Seconds per image of a method and of an experiment, from what was trained so far."""

    def __init__(self, blocks: Iterable[BlockState]) -> None:
        self._seconds, self._images = Counter[object](), Counter[object]()
        for block in blocks:
            for state in block.states:
                self._add(block, state)

    def seconds_left(self, block: BlockState, state: RunState) -> float | None:
        """Of a run; None if that is unknown."""
        if not state.images_left:
            return 0.0
        heard = state.heartbeat
        if state.status == RUNNING and heard.images_per_second:
            return state.images_left / heard.images_per_second
        for key in keys_of(block, state):
            if self._images[key]:
                return state.images_left * self._seconds[key] / self._images[key]
        return None

    def seconds_left_of(self, block: BlockState) -> float | None:
        """Of a block's runs, one after another."""
        return total(self.seconds_left(block, state) for state in block.states)

    def seconds_left_of_all(self, blocks: Sequence[BlockState]) -> float | None:
        """Of all, with as many runs at once as there are now, and a block's one after another."""
        left = [self.seconds_left_of(block) for block in blocks]
        together = total(left)
        return None if together is None else max(together / max(1, at_once(blocks)), *left, 0.0)

    def _add(self, block: BlockState, state: RunState) -> None:
        seconds = images = 0.0
        if state.rows:
            seconds = state.rows[-1].total_train_seconds
            seconds += sum(row.eval_seconds for row in state.rows)
            images = min(len(state.rows) * state.run.data_used.train_images, state.images_done)
        elif state.heartbeat is not None and state.heartbeat.images_per_second:
            images = state.heartbeat.images
            seconds = images / state.heartbeat.images_per_second
        for key in keys_of(block, state):
            self._seconds[key] += seconds
            self._images[key] += images


def keys_of(block: BlockState, state: RunState) -> tuple[object, object]:
    """What runs are alike by, the closest first."""
    name = block.plan.experiment.name
    return (name, state.run.method), name


def total(seconds: Iterable[float | None]) -> float | None:
    """The sum; None if a part is unknown."""
    found = list(seconds)
    return None if None in found else sum(found)


def at_once(blocks: Iterable[BlockState]) -> int:
    """How many runs are under way."""
    return sum(block.counts[RUNNING] for block in blocks)
