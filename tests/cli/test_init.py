"""A config to start from, and the configs that come with fobench."""

from dataclasses import replace

import pytest

from fobench.experiment.config import load
from fobench.experiment.packaged_configs import packaged_config
from fobench.methods import METHODS


def test_it_writes_a_config_that_is_the_packaged_one_by_another_name(fobench, tmp_path):
    ran = fobench("init", "cpu/precompute", "-o", "mine.toml")
    assert ran.exit_code == 0, ran.output
    assert "mine.toml" in ran.output
    assert "fobench schema -o fobench.schema.json" in ran.output
    mine, packaged = load(tmp_path / "mine.toml"), load(packaged_config("cpu/precompute"))
    assert mine.name == "mine"
    assert (mine.methods, mine.train, mine.data) == (
        packaged.methods,
        packaged.train,
        packaged.data,
    )


@pytest.mark.parametrize("name", ["quick/vgg", "cpu/precompute", "paper/wideresnet"])
def test_every_other_option_is_there_as_a_comment(fobench, tmp_path, name):
    """With its default, so that an editor need only take the # away."""
    assert fobench("init", name, "-o", "mine.toml").exit_code == 0
    lines = (tmp_path / "mine.toml").read_text().splitlines()
    assert lines[0] == "#:schema fobench.schema.json"
    for option, field in METHODS["freezeout"].declared().items():
        given = [line for line in lines if line.removeprefix("# ").startswith(f"{option} =")]
        assert given, option
        assert all(line[0] != "#" or field.description in line for line in given)


def test_options_that_are_not_comments_any_more_are_sound(fobench, tmp_path):
    """All but those that have no default to write."""
    assert fobench("init", "cpu/precompute", "-o", "mine.toml").exit_code == 0
    lines = (tmp_path / "mine.toml").read_text().splitlines()
    opened = [line.removeprefix("# ") for line in lines[2:] if " =  #" not in line]
    (tmp_path / "mine.toml").write_text("\n".join(opened))
    assert replace(load(tmp_path / "mine.toml"), name="") == replace(
        load(packaged_config("cpu/precompute")), name=""
    )


def test_it_overwrites_nothing(fobench, tmp_path):
    (tmp_path / "densenet.toml").write_text("mine")
    ran = fobench("init")
    assert ran.exit_code == 2
    assert "densenet.toml exists already" in ran.output
    assert (tmp_path / "densenet.toml").read_text() == "mine"


def test_it_lists_what_there_is(fobench):
    listed = fobench("init", "--list").output.split()
    assert {"quick/densenet", "cpu/densenet", "paper/densenet"} <= set(listed)


def test_an_unknown_name_is_reported_with_those_there_are(fobench):
    for words in (("init", "quick/resnet"), ("run", "quick/resnet", "--dry-run")):
        ran = fobench(*words)
        assert ran.exit_code == 2
        assert "quick/resnet: there is no such file, and no config of that name" in ran.output
        assert "quick/densenet" in ran.output


def test_a_packaged_config_runs_by_its_name(fobench):
    ran = fobench("run", "quick/densenet", "--dry-run")
    assert ran.exit_code == 0, ran.output
    assert "quick-densenet on" in ran.output


def test_a_file_of_that_name_comes_first(fobench, tiny, tmp_path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "densenet").write_text(tiny.read_text())
    assert "tiny on" in fobench("run", "quick/densenet", "--dry-run").output


def test_a_packaged_config_is_found_with_its_suffix_and_beside_a_folder_of_its_name(
    fobench, tmp_path
):
    (tmp_path / "quick" / "densenet").mkdir(parents=True)
    for name in ("quick/densenet", "quick/densenet.toml"):
        ran = fobench("run", name, "--dry-run")
        assert "quick-densenet on" in ran.output, ran.output
    assert fobench("init", "quick/densenet.toml").exit_code == 0


@pytest.mark.parametrize("file", ["é.toml", "we ird.toml", ".hid.toml", "a\\b.toml"])
def test_a_file_whose_name_no_experiment_can_have_is_refused(fobench, tmp_path, file):
    """The experiment is named after the file."""
    ran = fobench("init", "-o", file)
    assert ran.exit_code == 2
    assert "give the file another name" in ran.output
    assert not (tmp_path / file).exists()
