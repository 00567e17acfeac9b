"""The architecture: the order of packages, and the two wings."""

import ast
from functools import cache
from pathlib import Path

import pytest

from fobench.methods import METHODS
from fobench.models import FAMILIES

PACKAGE = Path(__file__).parents[1] / "fobench"

# From the ground upwards: a package imports only from those before it.
ORDER = (
    *("errors", "validation", "freezing", "records", "machine"),
    *("cutting", "methods", "models", "experiment"),
    *("data", "costs", "activations", "training", "sweep"),
    *("evidence", "figures", "report"),
    *("cli", "__main__"),
)
# What trains knows no screen, no tables and no figures; what judges results knows no torch. They
# share files, and the packages below them.
TRAINING_WING = ("data", "costs", "activations", "training", "sweep")
EVIDENCE_WING = ("evidence", "figures", "report")
TORCH_FREE = ("errors", "validation", "records", "methods", "models", "experiment", *EVIDENCE_WING)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The root package holds the version, and FreezeOut for who asks for it.
MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
del MODULES["fobench"]


@cache
def imports_of(path: Path, at_top_only: bool, for_types: bool = False) -> set[str]:
    """The modules that a file imports; for types alone does not count, unless `for_types`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            node.body = []
    found: set[str] = set()
    for node in tree.body if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def package_of(module: str) -> str:
    return module.split(".")[1]


def reached_from(
    start: str, at_top_only: bool = True, packages: bool = True, for_types: bool = False
) -> set[str]:
    """Every module, of ours or not, that importing `start` imports; `packages` with their own."""
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in MODULES:
            todo += imports_of(MODULES[name], at_top_only, for_types)
            # A package is imported before its modules.
            todo += [name.rpartition(".")[0]] if packages and name.count(".") > 1 else []
    return {name.partition(".")[0] for name in seen} - {"fobench"} | (seen & set(MODULES))


def test_the_order_names_every_package():
    assert sorted(ORDER) == sorted({package_of(name) for name in MODULES})


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downwards(name):
    """Those in functions too."""
    floor = ORDER.index(package_of(name))
    for other in imports_of(MODULES[name], at_top_only=False) & set(MODULES):
        assert ORDER.index(package_of(other)) <= floor, f"{name} imports {other}"


def test_the_wings_share_only_what_is_below_them():
    for name, path in MODULES.items():
        others = {package_of(other) for other in imports_of(path, False) & set(MODULES)}
        if package_of(name) in EVIDENCE_WING:
            assert not others & set(TRAINING_WING), name
            # What they know of methods and networks they ask of a recorded run.
            assert others <= {"errors", "validation", "experiment", "records", *EVIDENCE_WING}, name


BUILT = ("layers", "initialise", "fusion", "construct", "weights")


@pytest.mark.parametrize("name", [each for each in MODULES if package_of(each) in TORCH_FREE])
def test_plans_and_evidence_need_no_torch(name):
    # The layers of networks are imported when one is built.
    if name.removeprefix("fobench.models.") not in BUILT:
        assert "torch" not in reached_from(name)


@pytest.mark.parametrize("name", [each for each in MODULES if package_of(each) in TRAINING_WING])
def test_training_knows_no_screen_and_no_figures(name):
    assert not reached_from(name, at_top_only=False) & {"click", "pandas", "matplotlib"}


def test_freezeout_needs_only_torch_and_its_own_package():
    ours = reached_from("fobench.freezing.freezeout") & set(MODULES)
    assert {package_of(name) for name in ours} == {"freezing"}
    assert reached_from("fobench.freezing.schedule") & set(MODULES) == {
        "fobench.freezing",
        "fobench.freezing.schedule",
    }


def test_there_are_no_circles():
    """Imports for types count."""
    for start in MODULES:
        for next_door in imports_of(MODULES[start], False, for_types=True) & set(MODULES):
            # A package's own __init__ is imported with each of its modules.
            if next_door != start and not start.startswith(f"{next_door}."):
                reached = reached_from(next_door, False, packages=False, for_types=True)
                assert start not in reached, next_door


# The word for the run that others are compared with; and whose options are the registries.
MAY_NAME_ONE = {"fobench.experiment.run": {"BaselineOptions"}}


def test_only_methods_are_asked_which_method_they_are():
    """No other package compares a method's or a family's name, or imports one of their classes."""
    names, classes = {*METHODS, *FAMILIES}, {*METHODS.values(), *FAMILIES.values()}
    for module, path in MODULES.items():
        if package_of(module) in ("methods", "models"):
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare | ast.MatchValue):
                assert not constants_of(node) & names, f"{module}: {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom):
                imported = {alias.name for alias in node.names} & {cls.__name__ for cls in classes}
                assert imported <= MAY_NAME_ONE.get(module, set()), module


def constants_of(node: ast.AST) -> set[object]:
    """The constants that a node compares with, but not the keys in subscripts."""
    if isinstance(node, ast.Constant):
        return {node.value}
    if isinstance(node, ast.Subscript):
        return set()
    return {each for child in ast.iter_child_nodes(node) for each in constants_of(child)}


def test_files_are_short():
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert max(lengths.values()) <= 300, max(lengths, key=lengths.get)
