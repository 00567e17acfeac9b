"""Experiments: what a TOML file may say, and reading one with all its mistakes named at once."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fobench.errors import UserError
from fobench.method_options import METHODS, MethodOptions
from fobench.models.families import FAMILIES, ModelOptions
from fobench.options import MOST_POINTS, option, read, read_grid, rule, show, unknown_key

MOST_IMAGES = 10_000_000
MOST_SECONDS = 1e9
# Divided by a freeze time, it still is a number that float32 has.
MOST_RATE = 1e6
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@rule("name")
def name_is_a_folder(name: str) -> str | None:
    if NAME.fullmatch(name):
        return None
    return (
        f"name = {show(name)}: give letters, digits, '.', '_' and '-' alone, a letter or digit "
        "first; it names a folder of results"
    )


@rule("seeds")
def seeds_differ(seeds: tuple[int, ...]) -> str | None:
    if len(set(seeds)) == len(seeds):
        return None
    return f"seeds = {show(list(seeds))}: give each seed once"


@rule("momentum", "nesterov")
def nesterov_has_momentum(momentum: float, nesterov: bool) -> str | None:
    if momentum > 0 or not nesterov:
        return None
    return "momentum = 0.0: Nesterov momentum needs more than 0, or set nesterov = false"


@dataclass(frozen=True)
class ExperimentOptions:
    """[experiment]"""

    name: str = option()
    seeds: tuple[int, ...] = option((0,), at_least=0, at_most=2**31 - 1)
    repeats: int = option(1, at_least=1, at_most=1000)
    checkpoint_every: float = option(0.0, at_least=0, at_most=MOST_SECONDS)

    rules = (name_is_a_folder, seeds_differ)


@rule("dataset")
def sets_have_names(dataset: tuple[str, ...]) -> str | None:
    return None if all(dataset) else 'dataset = "": give the name or the path of a data set'


@dataclass(frozen=True)
class DataOptions:
    """[data]"""

    dataset: tuple[str, ...] = option()
    augment: str = option("random", one_of=("random", "none"))
    validation: int = option(0, at_least=0, at_most=MOST_IMAGES)
    train_size: int | None = option(None, at_least=2, at_most=MOST_IMAGES)
    test_size: int | None = option(None, at_least=1, at_most=MOST_IMAGES)

    rules = (sets_have_names,)


@dataclass(frozen=True)
class TrainOptions:
    """[train]"""

    epochs: int = option(at_least=1, at_most=1_000_000)
    batch_size: int = option(at_least=2, at_most=1_000_000)
    lr: float = option(0.1, above=0, at_most=MOST_RATE)
    momentum: float = option(0.9, at_least=0, at_most=1)
    nesterov: bool = option(True)
    weight_decay: float = option(1e-4, at_least=0, at_most=MOST_RATE)
    deterministic: bool = option(False)

    rules = (nesterov_has_momentum,)


@dataclass(frozen=True)
class Experiment:
    """A checked config. `model` and each of `methods` are (name, options)."""

    name: str
    seeds: tuple[int, ...]
    repeats: int
    checkpoint_every: float
    data: DataOptions
    model: tuple[str, ModelOptions]
    train: TrainOptions
    methods: tuple[tuple[str, MethodOptions], ...]


TABLES = ("experiment", "data", "model", "train", "method")


def load_all(paths: Sequence[Path], overrides: Sequence[str] = ()) -> list[Experiment]:
    """Read several configs. Raises UserError with the mistakes of all of them."""
    experiments, problems = [], []
    for path in paths:
        try:
            experiments.append(load(path, overrides))
        except UserError as error:
            problems += error.problems
    names = [experiment.name for experiment in experiments]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(
            f"{names.count(name)} of the configs are named {name}: give each its own name"
        )
    if problems:
        raise UserError(problems)
    return experiments


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a config, with `table.key=value` overrides. Raises UserError with all its mistakes."""
    tables = parse(path)
    problems = override(tables, overrides)
    problems += [
        unknown_key(key, dict.fromkeys(TABLES), "table") for key in tables if key not in TABLES
    ]
    options = {}
    for name, cls in (
        ("experiment", ExperimentOptions),
        ("data", DataOptions),
        ("train", TrainOptions),
    ):
        table, wrong = plain_table(tables, name)
        if not wrong:
            options[name], wrong = read(cls, table, f"[{name}]")
        problems += wrong
    table, wrong = plain_table(tables, "model")
    models = []
    if not wrong:
        models, wrong = read_named(FAMILIES, table, "[model]", grid=False)
    problems += wrong
    methods, wrong = read_methods(tables.get("method", []))
    problems += wrong
    if options.get("data") is not None:
        problems += views_misfit(options["data"].augment, [method for _, method in methods])
    if problems:
        raise UserError(f"{path}: {problem}" for problem in problems)
    experiment = options["experiment"]
    runs = len(methods) * experiment.repeats * len(experiment.seeds)
    if runs > MOST_POINTS:
        raise UserError(f"{path}: it spans {runs} runs: give {MOST_POINTS} at most")
    return Experiment(
        name=experiment.name,
        seeds=experiment.seeds,
        repeats=experiment.repeats,
        checkpoint_every=experiment.checkpoint_every,
        data=options["data"],
        model=models[0],
        train=options["train"],
        methods=tuple(dict.fromkeys(methods)),
    )


def parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid TOML: {error}") from error


def override(tables: dict[str, Any], overrides: Iterable[str]) -> list[str]:
    """Put `table.key=value` into the tables; the value is TOML, or else a bare string."""
    problems = []
    for text in overrides:
        key, equals, value = text.partition("=")
        table, dot, name = key.strip().partition(".")
        if equals and dot and name and table not in TABLES:
            problems.append(unknown_key(table, dict.fromkeys(TABLES), f"--set {text}: table"))
        elif not (equals and dot and name):
            problems.append(f"--set {text}: give table.key=value, such as train.epochs=3")
        elif table == "method":
            problems.append(f"--set {text}: methods are a list; choose among them with --only")
        elif isinstance(tables.setdefault(table, {}), dict):
            tables[table][name] = toml_value(value.strip())
    return problems


def toml_value(text: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    # No option is a date, but a name may look like one.
    return value if isinstance(value, bool | int | float | str | list | dict) else text


def plain_table(tables: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    table = tables.get(name)
    if table is None:
        return {}, [f"[{name}] is missing"]
    if not isinstance(table, dict):
        return {}, [f"{name} = {show(table)}: give a table [{name}]"]
    return table, []


def read_methods(tables: Any) -> tuple[list[tuple[str, MethodOptions]], list[str]]:
    if not (isinstance(tables, list) and tables and all(isinstance(each, dict) for each in tables)):
        return [], ['give at least one table [[method]], such as name = "baseline"']
    methods, problems = [], []
    for number, table in enumerate(tables, start=1):
        made, wrong = read_named(METHODS, table, f"[[method]] {number}:", grid=True)
        methods += made
        problems += wrong
    return methods, problems


def views_misfit(augment: str, methods: Iterable[MethodOptions]) -> list[str]:
    """What of the methods does not go with the augmentation."""
    problems = []
    if augment == "random" and any(each.precompute and not each.views for each in methods):
        problems.append(
            "[[method]] precompute = true: images that are augmented afresh each time have no "
            'activation to use again; set views = 4 or so, or data.augment = "none"'
        )
    if augment == "none" and any(each.views for each in methods):
        problems.append(
            "[[method]] views: they are of augmented images; leave them out, or set data.augment = "
            '"random"'
        )
    return problems


def read_named(
    registry: Mapping[str, type], table: dict[str, Any], where: str, grid: bool
) -> tuple[list[tuple[str, Any]], list[str]]:
    """Read a table whose `name` picks its options from a registry."""
    name = table.get("name")
    if name is None:
        return [], [f"{where} name is missing: give one of {', '.join(registry)}"]
    if not isinstance(name, str):
        return [], [f"{where} name = {show(name)}: give one of {', '.join(registry)}"]
    if name not in registry:
        return [], [unknown_key(name, registry, f"{where} name")]
    rest = {key: value for key, value in table.items() if key != "name"}
    if grid:
        made, problems = read_grid(registry[name], rest, where)
    else:
        one, problems = read(registry[name], rest, where)
        made = [one]
    return [(name, each) for each in made], problems
