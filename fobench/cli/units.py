"""`fobench units`: what a network is cut into."""

from itertools import pairwise
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
    data_root_option,
    device_option,
    no_wait_option,
    overrides_option,
    results_option,
)

if TYPE_CHECKING:
    from fobench.costs.profile import Profile
    from fobench.sweep.plan import Plan


@click.command()
@click.argument("config", type=UserPath())
@overrides_option
@results_option
@data_root_option
@device_option
@click.option(
    "--profile",
    is_flag=True,
    help="Measure a training step, in less than a minute, if no profile of the network is kept.",
)
@click.option("-o", "--output", type=UserPath(dir_okay=False), help="A CSV file.  [default: none]")
@no_wait_option
def units(
    config: Path,
    overrides: tuple[str, ...],
    results: Path,
    data_root: Path | None,
    device: str,
    profile: bool,
    output: Path | None,
    no_wait: bool,
) -> None:
    """Print the units of CONFIG's network: what freezes as one, in forward order.

    \b
    Seconds are of a batch, from the profile that `fobench predict` or --profile keeps: those of the
    unit's forward pass, which a store of its activations spares; and those that freezing it, after
    all before it, saves of a training step: its backward pass and its update.
    """
    from fobench.experiment.config import load_all
    from fobench.experiment.packaged_configs import find_config
    from fobench.sweep.compared import compare_anew
    from fobench.sweep.plan import plan_all

    with errors_as_messages(), stops_as_messages(force=False):
        experiments = load_all([find_config(config)], overrides)
        [plan] = plan_all(experiments, results, data_root, compare=compare_anew)
        from fobench.machine.lock import machine_lock
        from fobench.machine.threads import limit_threads
        from fobench.sweep.loop import select_for
        from fobench.sweep.profiles import kept_profile, planned_place

        here = select_for([plan], device)
        limit_threads()
        kept = kept_profile(plan, here, planned_place(plan, here))
        if kept is None and profile:
            from fobench.data.split import load
            from fobench.sweep.profiles import requested_profile

            with machine_lock(wait=not no_wait):
                used, augment = plan.runs[0].data_used, plan.experiment.data.augment
                with prints_aside():
                    kept = requested_profile(plan, load(plan.dataset, used, augment, here))
        with prints_aside():
            rows = unit_rows(plan, kept.profile if kept else None)
        model = plan.experiment.model
        click.echo(f"{model.title()} on {plan.dataset.name}: {len(rows)} units")
        print_rows([readable(row) for row in rows])
        if kept is None:
            click.echo("seconds: not measured yet; give --profile, or run `fobench predict`")
        else:
            images, step = plan.experiment.train.batch_size, kept.profile.step_seconds[0]
            click.echo(f"a step of {images} images with nothing frozen: {milliseconds(step)} ms")
        if output is not None:
            import pandas as pd

            write_or_print(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"), output)


def unit_rows(plan: "Plan", profile: "Profile | None") -> list[dict[str, object]]:
    """A row a unit: name, modules, parameters, costs of an image, seconds of a step."""
    from fobench.costs.unit_costs import unit_costs_of
    from fobench.cutting.cut_network import modules_of_units

    used, model = plan.runs[0].data_used, plan.experiment.model
    modules = modules_of_units(model.build_on_meta(used.classes, used.image_shape))
    costs = unit_costs_of(plan.runs[0])
    seconds = seconds_of_units(profile, plan.experiment.train.batch_size, len(costs))
    return [
        {
            "unit": number,
            "name": cost.name,
            "modules": " ".join(within),
            "parameters": cost.parameters,
            "flops": cost.flops,
            "activation_bytes": cost.activation_bytes,
            **timed,
        }
        for number, (cost, within, timed) in enumerate(zip(costs, modules, seconds, strict=True))
    ]


def seconds_of_units(
    profile: "Profile | None", batch_size: int, units: int
) -> list[dict[str, float | None]]:
    """For each unit the seconds of a batch: forward, saved when it freezes, of a step then."""
    if profile is None:
        return [dict.fromkeys(("forward_seconds", "saved_seconds", "step_seconds"))] * units
    steps = profile.step_seconds
    saved = [before - after for before, after in pairwise(steps)]
    return [
        {"forward_seconds": batch_size * forward, "saved_seconds": less, "step_seconds": step}
        # The head never freezes.
        for forward, less, step in zip(
            profile.forward, [*saved, None], [*steps[1:], None], strict=True
        )
    ]


def readable(row: dict[str, object]) -> dict[str, object]:
    from fobench.activations.plan_file import format_bytes

    modules = str(row["modules"]).split()
    shown = " ".join(modules[:3]) + (f" and {len(modules) - 3} more" if len(modules) > 3 else "")
    return {
        "unit": f"{row['unit']} {row['name']}",
        "modules": shown,
        "parameters": f"{row['parameters']:,}",
        "MFLOPs": f"{row['flops'] / 1e6:,.2f}",
        "activations": format_bytes(row["activation_bytes"]),
        "forward, ms": milliseconds(row["forward_seconds"]),
        "saved if frozen, ms": milliseconds(row["saved_seconds"]),
    }


def milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.2f}"
