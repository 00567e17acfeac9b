"""An experiment's results, read for a figure or a report. No torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fobench import stats, variants
from fobench.datasets import name_used
from fobench.errors import UserError
from fobench.results import RunResult, read_experiment


@dataclass(frozen=True)
class Panel:
    """An experiment's finished runs, a table of them, and a row a variant; see `stats`."""

    folder: Path
    runs: list[RunResult]
    table: pd.DataFrame
    summary: pd.DataFrame
    left_out: Sequence[str] = ()

    def timed(self, runs: Sequence[RunResult]) -> list[RunResult]:
        """Those of the runs whose times count."""
        ids = set(self.table.loc[self.table["timed"], "id"])
        return [run for run in runs if run.id in ids]

    def variants(self) -> Iterator[tuple[pd.Series, list[RunResult]]]:
        """Each variant's row and its runs, in the order of the experiment."""
        by_variant: dict[str, list[RunResult]] = {}
        for run, variant in zip(self.runs, self.table["variant"], strict=True):
            by_variant.setdefault(variant, []).append(run)
        for _, row in self.summary.iterrows():
            yield row, by_variant[row["variant"]]

    @property
    def title(self) -> str:
        """Network, data, sizes, epochs, seeds and device, in three lines."""
        record = self.runs[0].record
        run, used = record["run"], record["run"]["data_used"]
        return (
            f"{run['model']['title']} on {name_used(used['name'], run['data']['dataset'])}, "
            f"augmentation: {run['data']['augment']}\n"
            f"{used['train_images']:,} training images, {run['train']['epochs']} epochs, "
            f"{used['test_images']:,} test images, {self.seeds}\n{' and '.join(self.devices)}"
        )

    @property
    def seeds(self) -> str:
        seeds = sorted(set(self.table["seed"].tolist()))
        return f"seed{'s' * (len(seeds) > 1)} {', '.join(str(seed) for seed in seeds)}"

    @property
    def devices(self) -> list[str]:
        return sorted(
            {
                environment["gpu"]
                or f"{environment['processor']}, {environment['threads']} threads"
                for environment in (run.record["environment"] for run in self.runs)
            }
        )


def read_panels(
    folders: Sequence[Path], include_resumed: bool = False
) -> tuple[list[Panel], list[str]]:
    """The experiments in the folders, and notes on what is left out and why.

    Raises UserError if no folder holds a finished run.
    """
    panels, notes = [], []
    for folder in dict.fromkeys(folders):
        try:
            runs, more = read_experiment(folder)
        except UserError as error:
            notes += error.problems
            continue
        notes += [f"{folder}: {note}" for note in more]
        if not runs:
            notes.append(f"{folder} has no finished run")
            continue
        table = stats.table(runs, include_resumed)
        panels.append(Panel(folder, runs, table, stats.summary(table), more))
        notes += [f"{folder}: {note}" for note in unpaired(panels[-1])]
    if not panels:
        raise UserError(notes)
    return panels, notes


def unpaired(panel: Panel) -> Iterator[str]:
    """What has no time saved, and why."""
    resumed = panel.table[panel.table["resumed"] & ~panel.table["timed"]]
    for run_id in resumed["id"]:
        yield (
            f"the time of {run_id} is left out, as it was resumed: --include-resumed takes it, "
            f"`fobench run` with --force --only {run_id} times it anew"
        )
    for _, row in panel.summary[panel.summary["pairs"] == 0].iterrows():
        name = variants.label(row["options"])
        yield f"no time saved for {name}: its baseline is missing or ran on another machine" + (
            ", or one of the two was resumed" if len(resumed) else ""
        )
