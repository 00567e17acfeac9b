"""Results of experiments, read for figures and reports."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fobench.errors import UserError, counted
from fobench.evidence.pairs import ranks_of, table
from fobench.evidence.summary import summary
from fobench.experiment.expand import dataset_title
from fobench.experiment.from_record import method_of
from fobench.records.experiments import read_experiment
from fobench.records.runs import RunResult

# Where a run is from which others are not compared with it.
ELSEWHERE = (
    "on another machine (host, processor, CPU limits, threads, card, driver, torch), in another "
    "precision or step mode, or in another number of processes"
)


@dataclass(frozen=True)
class ExperimentResults:
    """An experiment's finished runs, their `pairs.table` and the `summary.summary` of variants."""

    folder: Path
    runs: list[RunResult]
    table: pd.DataFrame
    summary: pd.DataFrame
    left_out: Sequence[str] = ()
    include_resumed: bool = False  # whether the times of resumed runs count

    def timed(self, runs: Sequence[RunResult]) -> list[RunResult]:
        """The runs whose times count."""
        ids = set(self.table.loc[self.table["timed"], "id"])
        return [run for run in runs if run.id in ids]

    def variants(self) -> Iterator[tuple[pd.Series, list[RunResult]]]:
        """Each variant's summary row and its runs, in the order of the experiment."""
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
        shuffled = ", shuffled" if run["data"].get("shuffle") else ""
        return (
            f"{run['model']['title']} on {dataset_title(used['name'], run['data']['dataset'])}, "
            f"augmentation: {run['data']['augment']}{shuffled}\n"
            f"{used['train_images']:,} training images, {run['train']['epochs']} epochs, "
            f"{used['test_images']:,} test images, {self.seeds}\n{named_together(self.devices)}"
        )

    @property
    def seeds(self) -> str:
        seeds = sorted(set(self.table["seed"].tolist()))
        return f"seed{'s' * (len(seeds) > 1)} {', '.join(str(seed) for seed in seeds)}"

    @property
    def devices(self) -> list[str]:
        places: dict[str, set[str]] = {}
        for environment in (run.record["environment"] for run in self.runs):
            # Earlier versions do not say so.
            found = environment.get("images", "device")
            places.setdefault(computing_title(environment), set()).add(found)
        return [device_title(title, places[title]) for title in sorted(places)]


def named_together(devices: Sequence[str]) -> str:
    """Devices in a line; those that compute alike share what follows their names."""
    names: dict[str, list[str]] = {}
    for device in devices:
        name, comma, how = device.partition(", ")
        names.setdefault(comma + how, []).append(name)
    return " and ".join(" and ".join(each) + how for how, each in names.items())


def device_title(computing: str, images: Collection[str]) -> str:
    """A device, how it computes and where images come from, if that is no matter of course."""
    if set(images) == {"device"}:
        return computing
    return f"{computing}, images from {' or '.join(sorted(images))}"


def computing_title(environment: dict[str, Any]) -> str:
    """How a device computes, in how many processes that train together."""
    ranks = ranks_of(environment)
    title = title_of_process(environment)
    return title if ranks == 1 else f"{title}, {ranks} processes"


def title_of_process(environment: dict[str, Any]) -> str:
    precision = environment.get("precision", "float32")
    if environment["gpu"]:
        if "precision" not in environment:  # of an earlier version
            return environment["gpu"]
        steps = "CUDA graphs" if environment["step"] == "graph" else "eager steps"
        return f"{environment['gpu']}, {precision}, {steps}"
    title = f"{environment['processor']}, {counted(environment['threads'], 'thread')}"
    return title if precision == "float32" else f"{title}, {precision}"


def read_results(
    folders: Sequence[Path], include_resumed: bool = False
) -> tuple[list[ExperimentResults], list[str]]:
    """The results in the folders, and notes on what is left out and why.

    Raises UserError if no folder holds a finished run.
    """
    found, notes = [], []
    for folder in dict.fromkeys(folders):
        try:
            runs, left_out = read_experiment(folder)
        except UserError as error:
            notes += error.problems
            continue
        runs, unknown = known_methods(runs)
        left_out += unknown
        notes += [f"{folder}: {note}" for note in left_out]
        if not runs:
            notes.append(f"{folder} has no finished run")
            continue
        found.append(results_of(folder, runs, include_resumed, left_out))
        notes += [f"{folder}: {note}" for note in unpaired_notes(found[-1])]
    if not found:
        raise UserError(notes)
    return found, notes


def results_of(
    folder: Path,
    runs: list[RunResult],
    include_resumed: bool = False,
    left_out: Sequence[str] = (),
) -> ExperimentResults:
    """The results made up of these runs."""
    paired = table(runs, include_resumed)
    return ExperimentResults(folder, runs, paired, summary(paired), left_out, include_resumed)


def known_methods(runs: Sequence[RunResult]) -> tuple[list[RunResult], list[str]]:
    """The runs whose method this version knows, and notes on the others.

    An ensemble without its errors is left out, too, as those in its rows are of single members.
    """
    known, notes = [], []
    for run in runs:
        try:
            size = method_of(run.record).ensemble_size
        except UserError as error:
            notes += [f"{run.id} is left out: {problem}" for problem in error.problems]
            continue
        if size > 1 and not has_errors_of(run, size):
            notes.append(
                f"{run.id} is left out: its run.json lacks the errors of its ensemble: train it "
                f"again with `fobench run` --force --only {run.id}"
            )
        else:
            known.append(run)
    return known, notes


def has_errors_of(run: RunResult, members: int) -> bool:
    """Whether a run's record has the errors of an ensemble of that size, and what they cost."""
    found = run.ensemble or {}
    whole = all(len(found.get(part, ())) == members for part in ("members", "last"))
    return whole and {"forward_flops", "eval_seconds", "single_eval_seconds"} <= found.keys()


def unpaired_notes(results: ExperimentResults) -> Iterator[str]:
    """Notes on variants and runs without a measured time saved, why, and what to do."""
    table = results.table
    for run_id in table.loc[table["resumed"] & table["alone"] & ~table["timed"], "id"]:
        yield (
            f"the time of {run_id} is left out, as it was resumed: include it with "
            f"--include-resumed, or time it again with `fobench run` --force --only {run_id}"
        )
    without = results.summary[results.summary["pairs"] == 0]
    untimed: dict[bool, list[str]] = {}
    for _, row in without.iterrows():
        name, runs = row["method"].label(), table[table["variant"] == row["variant"]]
        if runs["error_points"].isna().all():
            yield (f"no time saved measured for {name}: its baseline is missing or ran {ELSEWHERE}")
        elif has_untimed_pair(runs, table):
            untimed.setdefault(row["predicted"], []).append(name)
        elif has_images_elsewhere(runs, table):
            yield (
                f"no time saved measured for {name}: the images of its baseline lay in another "
                "place (memory, or their file). Their errors count; to measure the time saved, "
                "train both again: `fobench run` --force --only PART-OF-THE-RUN-ID"
            )
        else:
            yield f"no time saved measured for {name}: of each pair, one run was resumed"
    for predicted, names in untimed.items():
        use = "predicted from the profile" if predicted else "unknown, as no profile was measured"
        shown = "any method" if len(names) == len(results.summary) else "; ".join(names)
        yield (
            f"no times of {shown}: these runs or their baselines were trained beside "
            f"others. Their errors count; the time saved is {use}. To measure it, train both again "
            "on a quiet machine: `fobench run` --force --only PART-OF-THE-RUN-ID"
        )
    yield from notes_on_split_seeds(results)


def notes_on_split_seeds(results: ExperimentResults) -> Iterator[str]:
    """Notes on seeds that lack pairs of a variant which others have, as after a node was lost."""
    table = results.table
    paired = results.summary.loc[results.summary["error_pairs"] > 0, "variant"]
    apart = table["error_points"].isna() & table["baseline"].isin(table["id"])
    for seed, runs in table[apart & table["variant"].isin(paired)].groupby("seed"):
        yield (
            f"seed {seed}: runs that are not paired with their baseline, as it ran {ELSEWHERE}: "
            f"{len(runs)}"
        )


def has_untimed_pair(runs: pd.DataFrame, table: pd.DataFrame) -> bool:
    """Whether one of these runs, or its baseline, was trained beside others."""
    alone = table.set_index("id")["alone"]
    return not runs["alone"].all() or bool(alone.reindex(runs["baseline"]).eq(False).any())


def has_images_elsewhere(runs: pd.DataFrame, table: pd.DataFrame) -> bool:
    """Whether the errors of one of these runs can be compared with its baseline's, its time not."""
    paired = runs[runs["error_points"].notna()]
    machines = table.set_index("id")["machine"]
    return bool((machines.loc[paired["baseline"]].array != paired["machine"].array).any())
