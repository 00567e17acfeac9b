"""The pages hold together, and the code in them runs."""

import re

import pytest
from click.testing import CliRunner

from fobench.cli import main
from fobench.experiment.reference_page import reference
from tests.docs.pages import PAGES, ROOT, code_of, text_of

IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 200


def test_the_example_loop_runs_as_it_stands(capsys):
    (code,) = code_of("README.md")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "6 of 7 units are frozen\n"


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
    assert len(packages) == 15
    for package in packages:
        assert re.search(rf"^  {package}/ +\w", page, re.MULTILINE), package


def test_every_dependency_has_its_line():
    import configparser

    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    names = re.findall(
        r"^([A-Za-z0-9_-]+)>=", metadata["options"]["install_requires"], re.MULTILINE
    )
    assert len(names) >= 13
    page = text_of("docs/dependencies.md")
    for name in names:
        assert f"| {name} | " in page, name
