"""`fobench predict`: what freezing should save, before anything is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fobench.cli.messages import (
    errors_as_messages,
    print_rows,
    prints_aside,
    stops_as_messages,
    write_or_print,
)
from fobench.cli.shared_options import (
    UserPath,
    configs_argument,
    data_root_option,
    device_option,
    no_wait_option,
    only_option,
    overrides_option,
    results_option,
)
from fobench.errors import UserError, counted

if TYPE_CHECKING:
    import torch

    from fobench.costs.profile import KeptProfile
    from fobench.sweep.plan import Plan
    from fobench.sweep.predict import RunPrediction

NOTE = "Predicted is time, not error: what freezing costs in accuracy only training shows."


@click.command()
@configs_argument
@overrides_option
@only_option
@results_option
@data_root_option
@device_option
@click.option(
    "--profile-only",
    is_flag=True,
    help="Measure the seconds of a step by the number of frozen units, keep them, and stop.",
)
@click.option("--force", is_flag=True, help="Measure again, even if a profile is kept.")
@click.option(
    "-o",
    "--output",
    type=UserPath(dir_okay=False),
    help="A CSV file, with a row per run.  [default: none]",
)
@no_wait_option
def predict(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    only: tuple[str, ...],
    results: Path,
    data_root: Path | None,
    device: str,
    profile_only: bool,
    force: bool,
    output: Path | None,
    no_wait: bool,
) -> None:
    """Predict the seconds, time saved, memory and disk of the runs of CONFIGS.

    \b
    Measures a training step with each number of units frozen, in less than a minute per network,
    and keeps that as results/NAME/profile-*.json. The machine should have nothing else to do.
    """
    from fobench.experiment.config import load_all
    from fobench.experiment.packaged_configs import find_config
    from fobench.machine.launch import require_one_process
    from fobench.sweep.plan import plan_all

    with errors_as_messages(), stops_as_messages(force=False):
        if profile_only and output is not None:
            raise UserError("-o: it is for predictions, and --profile-only makes none")
        require_one_process("`fobench predict`")
        experiments = load_all([find_config(path) for path in configs], overrides)
        plans = plan_all(experiments, results, data_root, only)
        # Torch is needed from here on.
        from fobench.machine.lock import machine_lock
        from fobench.machine.threads import limit_threads
        from fobench.sweep.loop import select_for

        here = select_for(plans, device)
        with machine_lock(wait=not no_wait):
            limit_threads()
            predictions = [
                predict_plan(plan, here, force, profile_only) for plan in plans if plan.chosen
            ]
        if profile_only:
            return
        print_totals(plans, predictions)
        if output is not None:
            write_or_print(csv_of(predictions), output)


def predict_plan(
    plan: "Plan", device: "torch.device", force: bool, profile_only: bool
) -> "list[RunPrediction]":
    """Profile and predict one experiment, and print both."""
    from fobench.data.split import load
    from fobench.sweep.predict import predict_runs
    from fobench.sweep.profiles import kept_profile, requested_profile

    used = plan.runs[0].data_used
    data = load(plan.dataset, used, plan.experiment.data.augment, device)
    kept = None if force else kept_profile(plan, device, data.place)
    if kept is None:
        with prints_aside():
            kept = requested_profile(plan, data)
    click.echo(f"{plan.title}: {plan.runs[0].model.title()}, batches of {batch_of(plan)}")
    click.echo(f"profile: {plan.folder / kept.file}")
    if profile_only:
        print_profile(plan, kept)
        return []
    with prints_aside():
        predictions = predict_runs(plan, data, kept)
    print_methods(predictions)
    return predictions


def batch_of(plan: "Plan") -> int:
    return plan.experiment.train.batch_size


def print_profile(plan: "Plan", kept: "KeptProfile") -> None:
    """The seconds of a step by frozen units, beside FLOPs and the paper's own estimate."""
    from fobench.costs.flops import paper_step_cost, step_flops
    from fobench.costs.unit_costs import unit_costs_of

    costs, steps = unit_costs_of(plan.runs[0]), kept.profile.steps
    rows = [
        {
            "units frozen": frozen,
            "first active": costs[frozen].name,
            "step, ms": f"{1000 * step.median:.2f}",
            "quartiles": f"{1000 * step.low:.2f} to {1000 * step.high:.2f}",
            "time, %": f"{100 * step.median / steps[0].median:.1f}",
            "FLOPs, %": f"{100 * step_flops(costs, frozen) / step_flops(costs, 0):.1f}",
            "paper's estimate, %": f"{100 * paper_step_cost(costs, frozen):.1f}",
        }
        for frozen, step in enumerate(steps)
    ]
    print_rows(rows)


def print_methods(predictions: "Sequence[RunPrediction]") -> None:
    """A row and, for those that save or cost time, a sentence per method."""
    from fobench.sweep.predict import methods_of

    found = list(methods_of(predictions))
    print_rows([row_of(each, number) for each, number in found])
    for each, _ in found:
        if not each.run.method.is_baseline:
            click.echo(sentence(each))
    click.echo()


def row_of(prediction: "RunPrediction", runs: int) -> dict[str, object]:
    from fobench.activations.plan_file import format_bytes

    stores = prediction.stores
    stored = f"{format_bytes(stores.peak_bytes)}, {stores.place}" if stores.builds else "–"
    return {
        "method": prediction.run.method.label(),
        "runs": runs,
        "steps": prediction.run.total_steps,
        "seconds": f"{prediction.time.seconds:.1f}",
        "saved, %": f"{prediction.time.saved_percent:.1f}",
        "by FLOPs, %": f"{prediction.flops_saved_percent:.1f}",
        "paper's, %": f"{prediction.paper_saved_percent:.1f}",
        "memory": format_bytes(prediction.peak_memory_bytes),
        "stores": stored,
    }


def sentence(prediction: "RunPrediction") -> str:
    """What the method would save here, and what to train without freezing in the same time."""
    from fobench.sweep.time_left import format_duration

    run, time = prediction.run, prediction.time
    saved, whole = time.baseline_seconds - time.seconds, time.baseline_seconds
    verb = "save" if saved >= 0 else "cost"
    said = (
        f"{run.method.label()} would {verb} {abs(time.saved_percent):.1f} % of the baseline's "
        f"training time here, {format_duration(abs(saved))} of {format_duration(whole)}"
    )
    steps, left = run.baseline_run.total_steps, prediction.shorter_baseline_steps
    if left < steps:
        share, unfrozen = left / steps, run.method.unfrozen()
        said += (
            f"; trained for {left:,} of its {steps:,} steps (epoch_share = {share:.2f}), "
            f"{'the baseline' if unfrozen is None else unfrozen.label()} takes as long"
        )
    return f"{said}."


def print_totals(plans: "Sequence[Plan]", predictions: "Sequence[list[RunPrediction]]") -> None:
    """Hours and disk of the runs that are not finished, by experiment and in all."""
    from fobench.sweep.predict import disk_bytes

    hours = disk = 0.0
    chosen = [plan for plan in plans if plan.chosen]
    for plan, found in zip(chosen, predictions, strict=True):
        ids = {run.id for run in plan.due()}
        due = [each for each in found if each.run.id in ids]
        each_hours, each_disk = sum(each.seconds for each in due) / 3600, disk_bytes(due)
        hours, disk = hours + each_hours, disk + each_disk
        click.echo(
            f"{plan.experiment.name}: {counted(len(due), 'run')} to do, about "
            f"{each_hours:.2f} hours, {each_disk / 1e6:.1f} MB of results, checkpoints and scratch "
            "files"
        )
    if len(chosen) > 1:
        click.echo(f"all: about {hours:.2f} hours, {disk / 1e6:.1f} MB")
    click.echo(NOTE)


def csv_of(predictions: "Sequence[list[RunPrediction]]") -> str:
    import pandas as pd

    rows = [each.as_row() for found in predictions for each in found]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
