"""Options declared as frozen dataclasses, and read from a config's tables with all mistakes named.

    @dataclass(frozen=True)
    class TrainOptions:
        epochs: int = option(100, at_least=1)

    options, problems = read(TrainOptions, {"epochs": 0}, "[train]")

The same declaration gives the type, the limits, the default and, by it, what a run id must cover.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from itertools import product
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Which values of an option's type are allowed."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    one_of: tuple[str, ...] | None = None

    def allow(self, value: Any) -> bool:
        if self.one_of is not None:
            return value in self.one_of
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.one_of is not None:
            return " or ".join(repr(choice) for choice in self.one_of)
        bounds = {
            "of at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        return " and ".join(
            f"{word} {bound}" for word, bound in bounds.items() if bound is not None
        )


def option(default: Any = MISSING, **limits: Any) -> Any:
    """Declare an option of a dataclass: its default, if it has one, and its `Limits`."""
    return field(default=default, metadata={"limits": Limits(**limits)})


@dataclass(frozen=True)
class Rule:
    """What options must keep to beyond their own limits, alone or together.

    `check` takes their values and tells the problem, beginning with a key; or None.
    """

    keys: tuple[str, ...]
    check: Callable[..., str | None]


def rule(*keys: str) -> Callable[[Callable[..., str | None]], Rule]:
    """Make a function of the values of `keys` a rule; a class holds its own in `rules`."""
    return lambda check: Rule(keys, check)


MOST_POINTS = 10_000
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string in quotes",
}


def read(cls: type[T], table: Mapping[str, Any], where: str) -> tuple[T | None, list[str]]:
    """Make `cls` from a table of the config; or None and all that is wrong with the table."""
    declared = {each.name: each for each in fields(cls)}
    types = option_types(cls)
    problems = [unknown_key(key, declared, where) for key in table if key not in declared]
    values = {}
    for name, each in declared.items():
        if name in table:
            value, good = convert(table[name], types[name], each)
            given = f"{name} = {show(table[name])}"
        else:
            value, good = each.default, each.default is not MISSING
            given = f"{name} is missing"
        if good:
            values[name] = value
        else:
            problems.append(f"{where} {given}: give {allowed(each, types[name])}")
    for each in getattr(cls, "rules", ()):
        if values.keys() >= set(each.keys):
            problem = each.check(*(values[key] for key in each.keys))
            problems += [f"{where} {problem}"] if problem else []
    return (None if problems else cls(**values)), problems


def read_grid(cls: type[T], table: Mapping[str, Any], where: str) -> tuple[list[T], list[str]]:
    """Make `cls` from each point of the grid that the lists in the table span."""
    types = option_types(cls)
    axes = {
        key: value
        for key, value in table.items()
        if isinstance(value, list) and key in types and not is_list(types[key])
    }
    problems = [
        f"{where} {key} = []: give a value or a list of values" for key in axes if not axes[key]
    ]
    axes = {key: values for key, values in axes.items() if values}
    points = math.prod(len(values) for values in axes.values())
    if points > MOST_POINTS:
        problems.append(f"{where} its lists span {points} runs: give {MOST_POINTS} at most")
        axes = {key: values[:1] for key, values in axes.items()}
    empty = {key for key in table if table[key] == [] and not is_list(types.get(key))}
    single = {key: value for key, value in table.items() if key not in empty & types.keys()}
    made: list[T] = []
    for point in product(*axes.values()):
        one, wrong = read(cls, {**single, **dict(zip(axes, point, strict=True))}, where)
        made += [one] if one is not None else []
        problems += [problem for problem in wrong if problem not in problems]
    return ([] if problems else made), problems


def differing(options: Any) -> dict[str, Any]:
    """The options that have no default or differ from it; what a run id covers."""
    return {
        each.name: getattr(options, each.name)
        for each in fields(options)
        if each.default is MISSING or getattr(options, each.name) != each.default
    }


def option_types(cls: type) -> dict[str, Any]:
    """The type of each option; that of an option which may be absent is its type when present."""
    types = get_type_hints(cls)
    return {
        name: get_args(kind)[0] if get_origin(kind) is UnionType else kind
        for name, kind in types.items()
    }


def is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def convert(value: Any, kind: Any, declared: Field) -> tuple[Any, bool]:
    """The value as the option's type, and whether type and limits allow it."""
    limits: Limits = declared.metadata["limits"]
    if is_list(kind):
        element = get_args(kind)[0]
        if is_pair(element):
            return convert_pairs(value, limits)
        items = value if isinstance(value, list) else [value]
        good = bool(items) and all(fits(item, element) and limits.allow(item) for item in items)
        return tuple(items), good
    if not fits(value, kind) or not limits.allow(value):
        return None, False
    return kind(value), True


def is_pair(kind: Any) -> bool:
    return kind == tuple[int, int]


def convert_pairs(value: Any, limits: Limits) -> tuple[Any, bool]:
    """A list of lists of two whole numbers as tuples, and whether it is one."""
    good = isinstance(value, list) and bool(value)
    good = good and all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(fits(each, int) and limits.allow(each) for each in pair)
        for pair in value
    )
    return (tuple(map(tuple, value)) if good else None), good


def fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, kind)


def allowed(declared: Field, kind: Any) -> str:
    limits = str(declared.metadata["limits"])
    if declared.metadata["limits"].one_of is not None:
        return limits
    if is_list(kind):
        if is_pair(get_args(kind)[0]):
            return f"a list of [whole number, whole number], each {limits}".strip()
        name = TYPE_NAMES[get_args(kind)[0]]
        return f"{name} {limits}".strip() + " or a list of such"
    return f"{TYPE_NAMES[kind]} {limits}".strip()


def show(value: Any, longest: int = 80) -> str:
    """A value as the user wrote it, or nearly so."""
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):  # whole numbers of over 4,300 digits, tables in tables …
        text = "something too long to show"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def unknown_key(key: str, known: Mapping[str, Any], where: str) -> str:
    """The message for a key or name that there is not, with the nearest one that there is."""
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{where} {written(key)} is not known: {hint}"


def written(key: str) -> str:
    """A key as TOML writes it: bare where it can be."""
    return key if BARE_KEY.fullmatch(key) else show(key)
