"""Times of the training step at every number of frozen units.

    python benchmarks/gpu/steps.py depths|variants|fused --device cuda|cpu --out DIR

Adds rows to DIR/steps.csv, and leaves out what it holds already. `depths`: the step as a run takes
it, at every depth from the pixels, at every other one also from a stored activation; with nothing
frozen at the start, in the middle and at the end, which shows drift; then operation by operation at
every fourth. `variants`: in other precisions and layouts, in larger batches. `fused`: with
`train.fuse_batchnorm`, whose compilation is part of `setup_seconds`; on the CPU it is not compiled.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from measuring import Measurements
from rows import StepRow, Table, parser_of
from sizes import Sizes, sizes_for
from stepper import Stepper

from fobench.machine.device import select, step_mode
from fobench.machine.environment import DEFAULTS
from fobench.models import ModelOptions, fusion

EAGER = {"step": "eager"}


def depths(sizes: Sizes, device: torch.device, table: Table, measurements: Measurements) -> None:
    """Networks without any row come first: one may have ended an earlier call."""
    written = table.rows()
    started = {row["network"] for row in written}
    ended = {row["network"] for row in written if row["series"] == "end"}
    for model in sorted(sizes.steps, key=lambda each: each.title() in started):
        if model.title() not in ended:
            measurements.take(model.title(), partial(every_depth, model, sizes, device, table))


def every_depth(model: ModelOptions, sizes: Sizes, device: torch.device, table: Table) -> None:
    # Units do not thaw, so that nothing frozen takes a network of its own.
    whole, freezing = (Stepper(model, device, sizes.batch) for _ in range(2))
    size = sizes.groups, sizes.group_steps
    table.add(whole.time(*size, "start"))
    for depth in range(1, whole.units):
        if depth == whole.units // 2:
            table.add(whole.time(*size, "middle"))
        freezing.freeze(depth)
        table.add(freezing.time(*size, "depths"))
        if (whole.units - 1 - depth) % sizes.cut_every == 0:
            table.add(freezing.time(*size, "depths", at_the_cut=True))
    table.add(whole.time(*size, "end"))
    # Here, where the algorithms are chosen already.
    eager = Variant(model, sizes.batch, every(sizes.eager_every), sizes.eager_group_steps, EAGER)
    measure(eager, sizes.groups, device, table)


@dataclass(frozen=True)
class Variant:
    """Steps of a network taken in another way; `depths` are chosen from its number of units."""

    model: ModelOptions
    batch: int
    depths: Callable[[int], Iterable[int]]
    group_steps: int
    options: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.model.title()}, batches of {self.batch}, {self.options}"

    def is_in(self, rows: Iterable[dict[str, str]], mode: str) -> bool:
        """Whether any of its rows is there."""
        wanted = {
            "network": self.model.title(),
            "batch": str(self.batch),
            "mode": self.options.get("step", mode),
            "precision": self.options.get("precision", "float32"),
            "layout": self.options.get("layout", "channels_last"),
            "series": "variant",
        }
        return any(wanted.items() <= row.items() for row in rows)


def every(few: int) -> Callable[[int], Iterable[int]]:
    return lambda units: range(0, units, few)


def variants(sizes: Sizes, device: torch.device, table: Table, measurements: Measurements) -> None:
    mode, written = step_mode(device, DEFAULTS), table.rows()
    for variant in all_variants(sizes, device):
        if variant.is_in(written, mode):
            continue
        measurements.take(variant.name, partial(measure, variant, sizes.groups, device, table))


def measure(variant: Variant, groups: int, device: torch.device, table: Table) -> None:
    stepper = Stepper(variant.model, device, variant.batch, **variant.options)
    for depth in variant.depths(stepper.units):
        stepper.freeze(depth)
        table.add(stepper.time(groups, variant.group_steps, "variant"))


def all_variants(sizes: Sizes, device: torch.device) -> Iterator[Variant]:
    """The most valuable first."""
    precisions = ["tf32", "bfloat16"] if device.type == "cuda" else ["bfloat16"]

    def of_all(
        batch: int, depths: Callable[[int], Iterable[int]], **options: str
    ) -> Iterator[Variant]:
        for model in sizes.steps:
            yield Variant(model, batch, depths, sizes.group_steps, options)

    def five(units: int) -> Iterable[int]:
        return sorted({round(number * (units - 1) / 4) for number in range(5)})

    def nothing_frozen(units: int) -> Iterable[int]:
        return [0]

    for precision in precisions:
        yield from of_all(sizes.batch, nothing_frozen, precision=precision)
    yield from of_all(sizes.batch, nothing_frozen, layout="contiguous")
    yield from of_all(sizes.large_batch, five)
    for precision in reversed(precisions):
        yield from of_all(sizes.batch, nothing_frozen, precision=precision, layout="contiguous")


def fused(sizes: Sizes, device: torch.device, table: Table, measurements: Measurements) -> None:
    """The first network with nothing frozen, as it is and fused."""
    if device.type == "cpu":
        fusion.compiled = lambda: fusion.batch_norm_relu
    written = {(row["series"], row["mode"]) for row in table.rows()}
    for step in ("auto", "eager") if device.type == "cuda" else ("auto",):
        steps = sizes.eager_group_steps if step == "eager" else sizes.group_steps
        mode = step_mode(device, DEFAULTS) if step == "auto" else step
        for series in ("plain", "fused"):
            if (series, mode) not in written:
                take = partial(plain_or_fused, series, step, steps, sizes, device, table)
                measurements.take(f"{series}, {mode}", take)


def plain_or_fused(
    series: str, step: str, steps: int, sizes: Sizes, device: torch.device, table: Table
) -> None:
    is_fused = series == "fused"
    stepper = Stepper(sizes.steps[0], device, sizes.batch, step=step, fuse_batchnorm=is_fused)
    table.add(stepper.time(sizes.groups, steps, series))


MEASURED = {"depths": depths, "variants": variants, "fused": fused}


def main() -> None:
    options = parser_of(__doc__, MEASURED).parse_args()
    device = select(options.device)
    torch.manual_seed(0)
    measurements = Measurements(device, options.without)
    table = Table(options.out / "steps.csv", StepRow)
    MEASURED[options.what](sizes_for(options.device), device, table, measurements)
    measurements.exit()


if __name__ == "__main__":
    main()
