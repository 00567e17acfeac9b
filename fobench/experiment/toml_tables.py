"""Config tables read into options; [[method]] tables span grids. No torch."""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

from fobench.validation import AnyOptions, format_value, is_list, read, unknown_key

MAX_POINTS = 10_000


def read_table(
    tables: Mapping[str, Any], name: str, cls: type[AnyOptions]
) -> tuple[AnyOptions | None, list[str]]:
    """Make `cls` from the table [name]. Returns (options, []) or (None, all problems found)."""
    table, problems = plain_table(tables, name)
    return (None, problems) if problems else read(cls, table, f"[{name}]")


def plain_table(tables: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    table = tables.get(name)
    if table is None:
        return {}, [f"[{name}] is missing"]
    if not isinstance(table, dict):
        return {}, [f"{name} = {format_value(table)}: give a table [{name}]"]
    return table, []


def read_named_table(
    tables: Mapping[str, Any], name: str, registry: Mapping[str, type[AnyOptions]]
) -> tuple[AnyOptions | None, list[str]]:
    """Make options of the class that the table's key `name` selects."""
    table, problems = plain_table(tables, name)
    if problems:
        return None, problems
    cls, rest, problems = choose_class(registry, table, f"[{name}]")
    return (None, problems) if cls is None else read(cls, rest, f"[{name}]")


def read_grids(
    tables: Any, name: str, registry: Mapping[str, type[AnyOptions]]
) -> tuple[list[AnyOptions], list[str]]:
    """Make options from all grid points of the array of tables [[name]]."""
    if not (isinstance(tables, list) and tables and all(isinstance(each, dict) for each in tables)):
        return [], [f'give at least one table [[{name}]], such as name = "{next(iter(registry))}"']
    points, problems = [], []
    for number, table in enumerate(tables, start=1):
        where = f"[[{name}]] {number}:"
        cls, rest, wrong = choose_class(registry, table, where)
        if cls is not None:
            made, wrong = read_grid(cls, rest, where)
            points += made
        problems += wrong
    return points, problems


def choose_class(
    registry: Mapping[str, type[AnyOptions]], table: Mapping[str, Any], where: str
) -> tuple[type[AnyOptions] | None, dict[str, Any], list[str]]:
    """The class that a table's `name` selects, the rest of the table, and problems."""
    name = table.get("name")
    if name is None:
        return None, {}, [f"{where} name is missing: give one of {', '.join(registry)}"]
    if not isinstance(name, str):
        return None, {}, [f"{where} name = {format_value(name)}: give one of {', '.join(registry)}"]
    if name not in registry:
        return None, {}, [f"{where} name {unknown_key(name, registry)}"]
    return registry[name], {key: value for key, value in table.items() if key != "name"}, []


def read_grid(
    cls: type[AnyOptions], table: Mapping[str, Any], where: str
) -> tuple[list[AnyOptions], list[str]]:
    """Make `cls` from each point of the grid spanned by the lists in a table."""
    declared = cls.declared()
    axes = {
        key: value
        for key, value in table.items()
        if isinstance(value, list) and key in declared and not is_list(cls, key)
    }
    problems = [
        f"{where} {key} = []: give a value or a list of values" for key in axes if not axes[key]
    ]
    # Empty axes are reported above; drop their keys, so that they are not reported again.
    fixed = {key: value for key, value in table.items() if key not in axes}
    axes = {key: values for key, values in axes.items() if values}
    points = math.prod(len(values) for values in axes.values())
    if points > MAX_POINTS:
        problems.append(f"{where} its lists span {points} runs: give {MAX_POINTS} at most")
        axes = {key: values[:1] for key, values in axes.items()}
    made: list[AnyOptions] = []
    for values in product(*axes.values()):
        point, wrong = read(cls, {**fixed, **dict(zip(axes, values, strict=True))}, where)
        made += [point] if point is not None else []
        problems += [problem for problem in wrong if problem not in problems]
    return ([] if problems else made), problems
