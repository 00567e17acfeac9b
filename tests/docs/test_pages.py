"""The pages hold together, and the code in them runs."""

import re

import pytest
from click.testing import CliRunner

from docs.numbers.pages import PAGES, ROOT
from fobench.cli import main
from fobench.experiment.reference_page import reference
from tests.docs.pages import code_of, text_of

IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 200


def test_the_example_loop_runs_as_it_stands(capsys):
    (code,) = code_of("README.md")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "6 of 7 units are frozen\n"


STEP = "    freezeout.step()  # sets the learning rates of this step, freezes what is due\n"
UPDATE = "    optimizer.step()\n"
OTHER_ORDERS = {
    "step() at the end": ((STEP, ""), (UPDATE, f"{UPDATE}{STEP}")),
    "train() in every step": ((STEP, f"{STEP}    network.train()\n"),),
    "both": ((STEP, "    network.train()\n"), (UPDATE, f"{UPDATE}{STEP}")),
}


@pytest.mark.parametrize("changes", OTHER_ORDERS.values(), ids=OTHER_ORDERS)
def test_the_example_loop_freezes_for_good_in_the_other_orders_that_people_write(changes, capsys):
    """Each frozen unit is bit for bit as it was when it froze, running statistics included."""
    (code,) = code_of("README.md")
    for old, new in changes:
        assert code.count(old) == 1
        code = code.replace(old, new)
    states: dict[int, dict] = {}

    def check(network, frozen: int) -> None:
        for index in range(frozen):
            state = {name: each.clone() for name, each in network[index].state_dict().items()}
            before = states.setdefault(index, state)
            assert all(each.equal(before[name]) for name, each in state.items()), index

    loop = "for images, labels in batches:\n"
    code = code.replace(loop, f"{loop}    check(network, freezeout.frozen)\n")
    code += "check(network, freezeout.frozen)\n"
    exec(compile(code, "README.md", "exec"), {"check": check})
    assert capsys.readouterr().out == "6 of 7 units are frozen\n"
    assert len(states) == 6


def test_the_code_of_the_page_on_loops_runs_as_it_stands():
    """Block by block, each with what those before it defined."""
    names: dict = {}
    blocks = code_of("docs/freezeout-in-your-loop.md")
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "freezeout-in-your-loop.md", "exec"), names)
    assert len(names["optimizer"].param_groups) == 6
    assert len(names["freezeout_of_resnet"].freeze_steps) == len(names["resnet"]) == 10


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_and_figure_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).resolve().exists(), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_file_that_is_named_is_there(page):
    """In backquotes, from the root of the checkout or of the package."""
    text = page.read_text(encoding="utf-8")
    pattern = r"`((?:[a-z_-]+/)+[a-z_-]*\.(?:py|toml|md|json|sh))`"
    for name in re.findall(pattern, text):
        to_be_written = name.startswith(("fobench/methods/halfway", "fobench/models/plain"))
        places = (ROOT / name, ROOT / "fobench" / name, page.parent / name)
        assert to_be_written or any(place.exists() for place in places), name


def test_the_page_on_configs_is_that_of_the_declarations():
    assert text_of("docs/configs.md") == reference(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_and_its_flags_exist(page):
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    shown = re.findall(r"^fobench ([a-z]+)([^#\n]*)", blocks, re.MULTILINE)
    shown += re.findall(r"`fobench ([a-z]+)([^`]*)`", text)
    for command, words in shown:
        assert command in main.commands, command
        help_text = CliRunner().invoke(main, [command, "--help"]).output
        for flag in re.findall(r"--[a-z-]+", words):
            assert flag in help_text, f"fobench {command} {flag}"


def test_the_tree_on_architecture_names_every_package():
    page = text_of("docs/architecture.md")
    packages = [path.parent.name for path in (ROOT / "fobench").glob("*/__init__.py")]
    assert len(packages) == 16
    for package in packages:
        assert re.search(rf"^  {package}/ +\w", page, re.MULTILINE), package


def test_every_dependency_has_its_line():
    import configparser

    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    names = re.findall(
        r"^([A-Za-z0-9_-]+)>=", metadata["options"]["install_requires"], re.MULTILINE
    )
    assert len(names) >= 12
    page = text_of("docs/dependencies.md")
    for name in names:
        assert f"| {name} | " in page, name
