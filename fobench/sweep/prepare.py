"""What comes before the training of a sweep: checks, folders, messages, and what is measured."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from fobench.activations import plan_file
from fobench.costs.flops import freeze_steps_of
from fobench.costs.unit_costs import network_on_meta
from fobench.data.split import Data
from fobench.errors import UserError, counted
from fobench.experiment.run import Run
from fobench.machine import environment
from fobench.machine.lock import MachineLock, remove_left_lock
from fobench.machine.memory import available_memory
from fobench.machine.ranks import Ranks
from fobench.machine.threads import number_of_threads
from fobench.models.fusion import fuse_batch_norm_relu
from fobench.records.experiments import listed_runs, unlisted_runs, write_experiment
from fobench.records.files import exists, make_folder
from fobench.records.runs import read_record
from fobench.sweep.plan import Plan
from fobench.sweep.profiles import is_worth_a_profile, kept_profile, planned_place, profile_for
from fobench.sweep.tasks import Sweep, Task, images_of
from fobench.sweep.time_left import Pace
from fobench.sweep.warmup import log_shortened_by_warmup
from fobench.training import checkpoint
from fobench.training.execute import ExecutionOptions
from fobench.training.optimizer import exempt_from_decay
from fobench.training.run_record import remove_unneeded_checkpoint

log = logging.getLogger(__name__)

LEAST_PART = 2  # images that BatchNorm can normalise

# Entries of an environment that can differ where the same command is given again.
MACHINE = ("host", "gpu_uuid", "driver", "images", "ranks")


def prepare(
    plans: Sequence[Plan], options: ExecutionOptions, force: bool, sharded: bool, jobs: int
) -> Sweep:
    """Check the plans and what is there, make the folders, and log what will be done.

    Where images lie is decided here, for all runs of the sweep alike.

    Raises UserError for damaged records, other shards with other runs, folders that cannot be
    written, networks that fail to say which of their weights decay or have one unit that trains.
    """
    for plan in plans:
        require_same_runs(plan, sharded)
        require_known_decay(plan)
        require_fusable(plan)
        require_units_to_freeze(plan)
        require_large_parts(plan, options.ranks)
    for plan in plans:
        make_folder(plan.folder)
    here = environment.describe(options.device)
    environment.log_machine(here)
    # Read all records before training, so that a damaged one is reported at once.
    due_of = [plan.due(force) for plan in plans]
    jobs = max(1, min(jobs, sum(map(len, due_of))))
    # On a GPU a rank has memory of its own.
    copies = jobs * (options.ranks.on_this_host if options.device.type == "cpu" else 1)
    place_of = [planned_place(plan, options.device, copies) for plan in plans]
    tasks = [
        Task(plan, run, number, len(due), place)
        for plan, due, place in zip(plans, due_of, place_of, strict=True)
        for number, run in enumerate(due, start=1)
    ]
    if jobs > 1:
        share = available_memory(options.device)[0] // jobs
        options = replace(options, memory_share=share, jobs=jobs)
    sweep = Sweep(tuple(tasks), options, Pace())
    for plan, due, place in zip(plans, due_of, place_of, strict=True):
        for folder in filter(exists, map(plan.folder_of, plan.chosen)):
            make_folder(folder)
        due_ids = {run.id for run in due}
        for run in (run for run in plan.chosen if run.id not in due_ids):
            folder = plan.folder_of(run)
            remove_unneeded_checkpoint(folder, read_record(folder))
            remove_left_lock(folder)
            sweep.record_pace(run, folder)
        log_plan(plan, due, here | {"images": place})
        if options.timed and not force:
            log_resumed_elsewhere(plan, due, place)
    for plan in plans:
        write_experiment(plan.folder, plan.experiment.name, [run.id for run in plan.runs])
    return sweep


def require_same_runs(plan: Plan, sharded: bool) -> None:
    """Raises UserError if other shards of the sweep have another config or data set."""
    listed = listed_runs(plan.folder) if sharded else []
    if listed and set(listed) != {run.id for run in plan.runs}:
        raise UserError(
            f"{plan.folder / 'experiment.json'} lists other runs than this share's sweep: give all "
            "shares the same config and data set (jobs of Slurm: submit the edited config again), "
            "or move the file away"
        )


def require_known_decay(plan: Plan) -> None:
    """Raises UserError if a network fails to say which of its weights decay, where it is asked."""
    run, used = plan.runs[0], plan.runs[0].data_used
    if run.train.decay_on != "matrices":
        return
    network = network_on_meta(run.model, used.classes, used.image_shape)
    with naming_network(plan):
        exempt_from_decay(network)


def require_fusable(plan: Plan) -> None:
    """Raises UserError if BatchNorms are to be fused and the network has none to fuse."""
    run, used = plan.runs[0], plan.runs[0].data_used
    if run.train.fuse_batchnorm:
        # Fusing changes the network, and others use this one.
        network = deepcopy(network_on_meta(run.model, used.classes, used.image_shape))
        with naming_network(plan):
            fuse_batch_norm_relu(network)


@contextmanager
def naming_network(plan: Plan) -> Iterator[None]:
    """A context in which problems are said to be of the plan's network."""
    try:
        yield
    except UserError as error:
        where = f"{plan.experiment.name}: [model] {plan.experiment.model.name}"
        raise UserError(f"{where}: {problem}" for problem in error.problems) from error


def require_units_to_freeze(plan: Plan) -> None:
    """Raises UserError if a method freezes units of a network of which one alone trains."""
    run, used = plan.runs[0], plan.runs[0].data_used
    if not any(min(freeze_steps_of(each)) < each.total_steps for each in plan.chosen):
        return
    units = network_on_meta(run.model, used.classes, used.image_shape)
    trained = [
        name
        for name, unit in units.named_children()
        if any(parameter.requires_grad for parameter in unit.parameters())
    ]
    if len(trained) < 2:
        raise UserError(
            f"{plan.experiment.name}: [model] {run.model.name}: of its units "
            f"{trained[0] if trained else 'none'} alone has parameters that require gradients, and "
            "the last unit that trains never freezes: let more units train, or leave out the "
            "methods that freeze"
        )


def require_large_parts(plan: Plan, ranks: Ranks) -> None:
    """Raises UserError if a rank's part of a batch is one image, which has no variance."""
    run = plan.runs[0]
    images, size = run.data_used.train_images, run.train.batch_size
    batches = {min(size, images), images % size} - {0}
    small = [each for each in sorted(batches) if each // ranks.count < LEAST_PART]
    if ranks.count > 1 and small:
        raise UserError(
            f"{plan.experiment.name}: of a batch of {small[0]} images, some of {ranks.count} "
            f"processes get fewer than {LEAST_PART}: change train.batch_size or data.train_size, "
            "or start fewer processes"
        )


def profiled(
    tasks: Sequence[Task],
    options: ExecutionOptions,
    machine: MachineLock,
    measure_with: int | None,
    data: Data | None = None,
) -> list[Task]:
    """The tasks of one experiment with the profile of its network on this machine.

    It is for `measure_with` threads, as a timed run has; if none is kept and the machine can be had
    alone, it is measured. With None it is only looked for. Without `data`, the images are loaded if
    they are needed.
    """
    plan, runs = tasks[0].plan, [task.run for task in tasks]
    with number_of_threads(measure_with or torch.get_num_threads()):
        kept = kept_profile(plan, options.device, tasks[0].place)
        if kept is None and measure_with is not None and is_worth_a_profile(runs, options.deadline):
            with machine.alone_if_free() as alone:
                if alone:
                    kept = profile_for(runs, plan, data or images_of(tasks[0], options))
                else:
                    log.warning("other runs are on the machine: no profile of it is measured")
    return [replace(task, profile=kept) for task in tasks]


def measure_plans(
    tasks: Sequence[Task], options: ExecutionOptions, machine: MachineLock, data: Data | None = None
) -> None:
    """Plan what the tasks of one experiment store, if nobody has, on a quiet machine if it is.

    One plan for each method, as all its runs must store the same. Without `data`, the images are
    loaded if they are needed.
    """
    missing = [
        task
        for task in tasks
        if task.run.method.stores.precompute
        and plan_file.frozen_epochs_of(task.run)
        and not exists(plan_file.path_of(task.run, task.plan.folder, options.device, task.place))
    ]
    if not missing:
        return
    with machine.alone_if_free() as alone:
        if not alone:
            log.warning("other runs are on the machine: plans of stores may not be the best")
        data = data or images_of(missing[0], options)
        for task in missing:
            try:
                plan_file.plan_of(task.run, task.plan.folder, data.train, task.profile)
            except UserError:
                raise
            except Exception as error:
                # Its run tries again, and fails alone.
                log.warning("no plan of what %s stores: %s", task.run.id, error)


def log_plan(plan: Plan, due: Sequence[Run], here: dict[str, Any]) -> None:
    """Log what will be done, and what the user may not expect.

    `here` is the environment, with the place of the images.
    """
    log.info("%s: %d of %d runs to do", plan.title, len(due), len(plan.chosen))
    name = plan.experiment.name
    if plan.missing(lambda run: run.baseline_run):
        log.warning("%s has no baseline over all epochs: time saved cannot be computed", name)
    if plan.missing(lambda run: run.uncached_run):
        log.warning("%s lacks the control of its stores: the method with precompute = false", name)
    controls = plan.missing(lambda run: run.control_run).values()
    for label in dict.fromkeys(run.method.label() for run in controls):
        log.warning("%s lacks the control of one of its methods: %s", name, label)
    log_shortened_by_warmup(due, name)
    log_other_machines(plan, due, here)
    due_ids = {run.id for run in due}
    for run in plan.chosen:
        if run.id not in due_ids and plan.status_of(run) == "diverged":
            log.warning("%s diverged; --force trains it again", run.id)
    others = unlisted_runs(plan.folder, {run.id for run in plan.runs})
    if others:
        log.warning(
            "left of an earlier config or data set in %s: %s, no part of the experiment any more; "
            "to keep both, set another experiment.name",
            *(plan.folder, counted(len(others), "run")),
        )


def log_other_machines(plan: Plan, due: Sequence[Run], here: dict[str, Any]) -> None:
    """Warn before hours of training if runs cannot be paired with those that are finished.

    `here` is the environment, with the place of the images.
    """
    seeds, due_ids = {run.seed for run in due}, {run.id for run in due}
    finished = [run for run in plan.chosen if run.seed in seeds and run.id not in due_ids]
    # Records of earlier versions are all of images on the device and of one process, and do not
    # say so.
    before = {"images": "device", "ranks": 1}
    found = [before | read_record(plan.folder_of(run))["environment"] for run in finished]
    others = sum(any(each.get(key) != here[key] for key in MACHINE) for each in found)
    if others:
        log.warning(
            "finished on another machine or card, with another driver, with their images in "
            "another place, by another number of processes, or recorded by a version of fobench "
            "that told machines apart otherwise: %d of the runs of the seeds to do. Their times "
            "cannot be paired with those of runs trained now; --force trains all here",
            others,
        )


def log_resumed_elsewhere(plan: Plan, due: Sequence[Run], place: str) -> None:
    """Warn before training of timed runs whose images lay elsewhere when they began."""
    folders = [plan.folder_of(run) for run in due]
    resumed = [
        read_record(each)
        for each in folders
        if exists(each / "run.json") and exists(each / checkpoint.LAST)
    ]
    began = [
        each["environment"].get("images", "device") for each in resumed if each.get("timed", True)
    ]
    if others := sum(each != place for each in began):
        log.warning(
            "resume with their images in another place (here: %s) than they began: %d of the runs "
            "to do. Their times will not be paired, their errors will; --force trains them anew",
            *(place, others),
        )
