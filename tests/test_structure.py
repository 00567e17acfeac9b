"""The house of two wings: who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fobench"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, at_top_only: bool) -> set[str]:
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


# The root package holds the version alone.
MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
del MODULES["fobench"]


def reached_from(start: str, at_top_only: bool = True) -> set[str]:
    """Every module, of ours or not, that importing `start` imports."""
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in MODULES:
            todo += imports_of(MODULES[name], at_top_only)
    return {name.partition(".")[0] for name in seen} - {"fobench"} | (seen & set(MODULES))


@pytest.mark.parametrize(
    "name", ["config", "run", "schedule", "options", "datasets", "sweep", "results", "stats",
             "plot", "cli", "models", "models.families", "stopping", "lock", "files",
             "report", "panel", "variants", "method_options", "store_plan", "storing"],
)  # fmt: skip
def test_plans_and_evidence_need_no_torch(name):
    assert "torch" not in reached_from(f"fobench.{name}")


@pytest.mark.parametrize(
    "name", ["train", "freezeout", "cost", "data", "models.densenet", "clock", "schedule",
             "execute", "estimate", "methods", "checkpoint", "precompute", "store", "planning"],
)  # fmt: skip
def test_training_knows_no_screen_and_no_figures(name):
    assert not reached_from(f"fobench.{name}") & {
        "click",
        "pandas",
        "matplotlib",
        "fobench.figures.registry",
    }


def test_the_formulas_stand_alone():
    assert reached_from("fobench.freezing.schedule") & set(MODULES) == {"fobench.freezing.schedule"}


def test_freezeout_needs_only_torch_and_the_formulas():
    ours = reached_from("fobench.freezing.freezeout") & set(MODULES)
    assert ours == {"fobench.freezing.freezeout", "fobench.freezing.schedule"}


def test_nothing_imports_the_commands():
    for name, path in MODULES.items():
        assert "fobench.cli.commands" not in imports_of(path, at_top_only=False), name


def test_there_are_no_circles():
    for start in MODULES:
        for next_door in imports_of(MODULES[start], at_top_only=False) & set(MODULES):
            # A package's own __init__ is imported with each of its modules.
            if next_door != start and not start.startswith(f"{next_door}."):
                assert start not in reached_from(next_door, at_top_only=False), (start, next_door)
