"""Experiments read from TOML files; all mistakes are reported at once. No torch."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fobench.errors import UserError
from fobench.experiment.options import TABLES as OPTIONS
from fobench.experiment.options import DataOptions, ExperimentOptions, TrainOptions
from fobench.experiment.toml_tables import (
    MAX_POINTS,
    plain_table,
    read_grids,
    read_named_table,
    read_table,
)
from fobench.methods import METHODS, MethodOptions
from fobench.models import FAMILIES, NetworkOptions, options_class
from fobench.validation import format_value, json_types, read, unknown_key

TABLES = ("experiment", "data", "model", "train", "method")
JSON_TYPES = {
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
    list: {"array"},
    dict: {"object"},
}


@dataclass(frozen=True)
class Experiment:
    """A checked config."""

    name: str
    seeds: tuple[int, ...]
    repeats: int
    checkpoint_every: float
    data: DataOptions
    model: NetworkOptions
    train: TrainOptions
    methods: tuple[MethodOptions, ...]


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
            f"{names.count(name)} of the configs are named {name}: give each a different name"
        )
    if problems:
        raise UserError(problems)
    return experiments


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a config, with `table.key=value` overrides. Raises UserError with all its mistakes."""
    tables = read_toml(path)
    problems = apply_overrides(tables, overrides)
    problems += [f"table {unknown_key(key, TABLES)}" for key in tables if key not in TABLES]
    options, wrong = read_table(tables, "experiment", ExperimentOptions)
    problems += wrong
    data, wrong = read_table(tables, "data", DataOptions)
    problems += wrong
    train, wrong = read_table(tables, "train", TrainOptions)
    problems += wrong
    model, wrong = read_model(tables)
    problems += wrong
    methods, wrong = read_grids(tables.get("method", []), "method", METHODS)
    problems += wrong
    if data is not None:
        problems += view_problems(data.augment, methods)
    if train is not None:
        problems += rate_problems(train, methods)
    if problems:
        raise UserError(f"{path}: {problem}" for problem in problems)
    runs = len(methods) * options.repeats * len(options.seeds)
    if runs > MAX_POINTS:
        raise UserError(f"{path}: it has {runs} runs: give {MAX_POINTS} at most")
    distinct = tuple(dict.fromkeys(methods))
    return Experiment(**options.as_dict(), data=data, model=model, train=train, methods=distinct)


def read_model(tables: dict[str, Any]) -> tuple[NetworkOptions | None, list[str]]:
    """The options of the network that [model] names: of a family, or from elsewhere."""
    table, problems = plain_table(tables, "model")
    name = table.get("name")
    if problems or not isinstance(name, str) or ":" not in name:
        return read_named_table(tables, "model", FAMILIES)
    cls = options_class(name)
    if cls is None:
        return None, [
            f"[model] name = {format_value(name)}: give torchvision:NAME, timm:NAME, FILE.py:NAME "
            f"or one of {', '.join(FAMILIES)}"
        ]
    return read(cls, table, "[model]")


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid TOML: {error}") from error


def apply_overrides(tables: dict[str, Any], overrides: Iterable[str]) -> list[str]:
    """Set `table.key=value` in the tables; see `override_value` for how a value is read."""
    problems = []
    # A network's name decides which other options there are.
    for text in sorted(overrides, key=lambda each: not each.strip().startswith("model.name")):
        key, equals, value = text.partition("=")
        table, dot, name = key.strip().partition(".")
        if equals and dot and name and table not in TABLES:
            problems.append(f"--set {text}: table {unknown_key(table, TABLES)}")
        elif not (equals and dot and name):
            problems.append(f"--set {text}: give table.key=value, such as train.epochs=3")
        elif table == "method":
            problems.append(f"--set {text}: methods are a list; choose among them with --only")
        elif isinstance(tables.setdefault(table, {}), dict):
            types = types_of_option(tables, table, name.strip())
            tables[table][name.strip()] = override_value(value.strip(), types)
    return problems


def types_of_option(tables: dict[str, Any], table: str, name: str) -> set[str]:
    """The JSON types that an option can have; none for an option that is not known."""
    if table != "model":
        cls = OPTIONS[table]
    elif name == "name":
        return {"string"}
    else:
        family = tables["model"].get("name")
        cls = options_class(family) if isinstance(family, str) else None
    return json_types(cls, name) if cls is not None and name in cls.declared() else set()


def override_value(text: str, types: set[str]) -> Any:
    """The value that a text on the command line stands for.

    It is TOML, or a string without quotes: what is not TOML, and what would be a number, a date or
    anything else that the option cannot be, such as a name of digits.
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str):
        return value
    of_value = JSON_TYPES.get(type(value), set())
    return text if not of_value or ("string" in types and not of_value & types) else value


def rate_problems(train: TrainOptions, methods: Iterable[MethodOptions]) -> list[str]:
    """Methods whose own learning rate is left at its default, which is for SGD alone."""
    if train.optimizer == TrainOptions.declared()["optimizer"].default:
        return []
    problems = [
        f"[[method]] {method.name}: its lr = {method.lr:g} is for SGD; give another lr for "
        f'optimizer = "{train.optimizer}"'
        for method in methods
        if "lr" in method.declared() and "lr" not in method.non_defaults()
    ]
    return list(dict.fromkeys(problems))


def view_problems(augment: str, methods: Iterable[MethodOptions]) -> list[str]:
    """Conflicts between the methods' views and the augmentation."""
    problems, stores = [], [method.stores for method in methods]
    if augment == "random" and any(each.precompute and not each.views for each in stores):
        problems.append(
            "[[method]] precompute = true: with a new augmentation in every epoch, activations "
            'cannot be reused; set views, such as views = 4, or data.augment = "none"'
        )
    if augment == "none" and any(each.views for each in stores):
        problems.append(
            "[[method]] views: they need augmented images; remove views, or set data.augment = "
            '"random"'
        )
    return problems
