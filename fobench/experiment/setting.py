"""A setting: the methods that a table of options describes, such as a claim's. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fobench.experiment.toml_tables import choose_class
from fobench.methods import METHODS, MethodOptions
from fobench.models import FAMILIES
from fobench.validation import format_value, read, unknown_key


@dataclass(frozen=True)
class Setting:
    """A method; the options named in `free` may have any value, all others the method's own."""

    method: MethodOptions
    free: frozenset[str] = frozenset()

    def includes(self, method: MethodOptions) -> bool:
        """Whether the method differs from the setting's in free options at most."""
        if type(method) is not type(self.method):
            return False
        wanted, found = self.method.as_dict(), method.as_dict()
        return all(found[name] == wanted[name] for name in wanted if name not in self.free)

    def label(self) -> str:
        """The method's name in tables; of several, its options and those that are free."""
        if not self.free:
            return self.method.label()
        given = [f"{name} = {each}" for name, each in self.method.non_defaults().items()]
        free = " and ".join(sorted(self.free))
        return f"{', '.join([self.method.name, *given])} with any {free}"


def read_setting(table: Any, where: str) -> tuple[Setting | None, list[str]]:
    """Read a table such as `{name = "freezeout", t0 = 0.8, any = ["scaling"]}`.

    Options that are not named have their defaults. Returns (setting, []) or (None, all problems).
    """
    if not isinstance(table, dict):
        return None, [f"{where} give a table, such as {{name = {next(iter(METHODS))!r}}}"]
    free = table.get("any", [])
    rest = {key: value for key, value in table.items() if key != "any"}
    cls, options, problems = choose_class(METHODS, rest, where)
    if cls is None:
        return None, problems
    method, problems = read(cls, options, where)
    problems += free_problems(free, cls, options, where)
    return (None, problems) if problems else (Setting(method, frozenset(free)), [])


def free_problems(
    free: Any, cls: type[MethodOptions], options: Mapping[str, Any], where: str
) -> list[str]:
    """What is wrong with the list of free options."""
    if not isinstance(free, list) or not all(isinstance(each, str) for each in free):
        return [f"{where} any = {format_value(free)}: give a list of options in quotes"]
    known = cls.declared()
    problems = [f"{where} any: {unknown_key(each, known)}" for each in free if each not in known]
    return problems + [
        f"{where} {each} is given and in any: remove one of them"
        for each in free
        if each in options
    ]


def family_problem(family: str) -> str | None:
    """What is wrong with the name of a network family; None if nothing is.

    Networks from elsewhere have a colon in their name.
    """
    if family in FAMILIES or ":" in family:
        return None
    return f"family {unknown_key(family, FAMILIES)}"
