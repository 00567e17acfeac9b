"""Options and arguments shared by several commands, and custom click parameter types."""

import math
import re
from pathlib import Path
from typing import ClassVar

import click

from fobench.errors import UserError
from fobench.machine.home import expand_user
from fobench.sweep.shard import Shard


class UserPath(click.Path):
    """A path, with ~ expanded: shells do not expand it in --option=~/path."""

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        try:
            return Path(super().convert(expand_user(value), param, ctx))
        except UserError as error:
            self.fail(str(error), param, ctx)


FOLDER = UserPath(file_okay=False)

configs_argument = click.argument("configs", nargs=-1, required=True, type=UserPath())
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override an option of the configs, such as train.epochs=3.",
)
only_option = click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Only runs whose id contains this text or pattern; given several times, one of them.",
)
results_option = click.option(
    "--results",
    type=FOLDER,
    default="results",
    show_default=True,
    help="The folder of results, with a folder per experiment.",
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Exit if another `fobench run` is on this machine."
)
keep_checkpoints_option = click.option(
    "--keep-checkpoints", is_flag=True, help="Keep the last checkpoint of runs that finish."
)
untimed_option = click.option(
    "--untimed", is_flag=True, help="Train beside other work: errors count, seconds do not."
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Train N runs at once, untimed, each with its share of the processors.",
)
data_root_option = click.option(
    "--data-root",
    type=FOLDER,
    help="Folder of prepared data sets.  [default: $FOBENCH_DATA, else ~/.cache/fobench]",
)
folders_argument = click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
include_resumed_option = click.option(
    "--include-resumed",
    is_flag=True,
    help="Include the times of resumed runs, which are left out by default.",
)


class Duration(click.ParamType):
    """A time such as 90m or 1h30m, in seconds."""

    name = "duration"
    units: ClassVar = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    pattern = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in units))

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = self.pattern.fullmatch(str(value))
        counts = found.groups(default="0") if found else ()
        seconds = sum(
            int(count) * size for count, size in zip(counts, self.units.values(), strict=False)
        )
        if not seconds:
            self.fail(f"{value!r} is not a duration: give one such as 2h, 90m, 1h30m or 45s")
        return float(seconds)


class Percent(click.FloatRange):
    """A number from 0 to 100, but not nan, which no comparison refuses."""

    def __init__(self) -> None:
        super().__init__(0, 100)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number from 0 to 100", param, ctx)
        return number


class Resources(click.ParamType):
    """Amounts by name, such as cpus=8,gpus=1."""

    name = "name=amount,..."
    pattern = re.compile(r"([A-Za-z][\w.:-]*)=([0-9]+(?:\.[0-9]+)?)")
    # What Ray counts itself, by other names than here, or in bytes.
    taken: ClassVar = {"CPU": "cpus", "GPU": "gpus", "memory": None, "object_store_memory": None}

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        found: dict[str, float] = {}
        for each in str(value).split(","):
            matched = self.pattern.fullmatch(each.strip())
            if not matched or matched[1] in found:
                self.fail(f"{value!r}: give amounts by name, such as cpus=8,gpus=1", param, ctx)
            name, amount = matched[1], float(matched[2])
            if name in self.taken:
                self.fail(f"{name}: give {self.taken[name] or 'another resource'}", param, ctx)
            if not amount or (amount > 1 and not amount.is_integer()):
                self.fail(f"{each}: give a whole number, or a share below one", param, ctx)
            found[name] = amount
        return found


class ShardParameter(click.ParamType):
    """One of n shares, such as 2/5."""

    name = "i/n"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Shard:
        if isinstance(value, Shard):
            return value
        found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", str(value))
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is not a share: give one such as 2/5, the second of five")
        return Shard(int(found[1]), int(found[2]))
