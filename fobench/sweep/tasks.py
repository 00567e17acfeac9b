"""The runs that a sweep trains, in their order."""

from dataclasses import dataclass
from pathlib import Path

from fobench.costs.profile import KeptProfile
from fobench.data.images import FileImages
from fobench.data.split import Data, cuts_of, load
from fobench.data.statistics import pixel_statistics
from fobench.experiment.run import Run
from fobench.records.files import exists
from fobench.records.runs import read_run
from fobench.sweep.messages import Images
from fobench.sweep.plan import Plan
from fobench.sweep.time_left import Pace
from fobench.training.execute import ExecutionOptions


@dataclass(frozen=True)
class Task:
    """A run to train: its plan, and its number among the plan's due runs, from 1.

    `place` is where all runs of the plan have their images, as `place_of_images` says. `profile` is
    that of its network on this machine, if there is one.
    """

    plan: Plan
    run: Run
    number: int
    of: int
    place: str
    profile: KeptProfile | None = None

    @property
    def folder(self) -> Path:
        return self.plan.folder_of(self.run)

    @property
    def checkpoint_every(self) -> float:
        return self.plan.experiment.checkpoint_every

    @property
    def title(self) -> str:
        return f"{self.plan.experiment.name} {self.number}/{self.of} {self.run.id}"


@dataclass(frozen=True)
class Sweep:
    """The tasks in the order in which they are trained, how, and how fast so far."""

    tasks: tuple[Task, ...]
    options: ExecutionOptions
    pace: Pace

    def record_pace(self, run: Run, folder: Path) -> None:
        """Update the pace with a run, if it is finished and was trained as these are."""
        # Another process may have just started it.
        if not exists(folder / "run.json"):
            return
        read = read_run(folder)
        if read.record["status"] != "finished":
            return
        if read.record.get("timed", True) == self.options.timed:
            self.pace.add(run, read.epochs[-1].total_train_seconds + read.eval_seconds)


def images_of(task: Task, options: ExecutionOptions) -> Data:
    """The images of a task's experiment, for the device."""
    used, experiment = task.plan.runs[0].data_used, task.plan.experiment
    return load(task.plan.dataset, used, experiment.data.augment, options.device, task.place)


def message_of_images(task: Task) -> Images:
    """Those images as another process is told of them."""
    used, augment = task.plan.runs[0].data_used, task.plan.experiment.data.augment
    return Images(task.plan.dataset, used, augment, task.place)


def find_statistics(task: Task) -> None:
    """Find the mean of images in a file, and keep it beside that, before each worker would."""
    used, experiment = task.plan.runs[0].data_used, task.plan.experiment
    images, *_ = cuts_of(task.plan.dataset, used, experiment.data.augment)["train"]
    if isinstance(images, FileImages):
        pixel_statistics(images)


def lost_device(task: Task, reason: str, later: int, forced: bool) -> str:
    """What to say when a run has failed and left a device that no later run can use."""
    why = f"the device does not work any more in this process ({reason})"
    return (
        f"{failed_last(task, why, later, forced)}. If that fails so again, train the others with "
        "--only, and find the cause: CUDA_LAUNCH_BLOCKING=1 names the call that fails, "
        "compute-sanitizer the kernel, the driver's log (dmesg) a fault of the hardware"
    )


def out_of_step(task: Task, reason: str, later: int, forced: bool) -> str:
    """What to say when a run has failed in one of several processes."""
    why = f"its processes are out of step ({reason})"
    told = failed_last(task, why, later, forced)
    return f"{told}. If that fails so again, train the others with --only"


def failed_last(task: Task, why: str, later: int, forced: bool) -> str:
    untouched, command = "still to do", "the same command"
    if forced:
        untouched, command = "with any earlier results", "the same command without --force"
    return (
        f"{task.run.id} failed, and {why}: the sweep stops here. Later runs, untouched and "
        f"{untouched}: {later}. Give {command} again: it starts with this run, from its last "
        "checkpoint"
    )
