"""A network is compared with its units once, until what the outcome depends on changes."""

import sys
from dataclasses import replace

import pytest

from fobench.costs.unit_costs import network_on_meta
from fobench.errors import UserError
from fobench.models import FileOptions, construct, user_file
from fobench.sweep import compared
from fobench.sweep.compared import compare_anew, compare_once
from tests.activations.small_runs import small_run
from tests.models.user_files import SOURCE, write_networks


@pytest.fixture
def used(tiny):
    return replace(small_run(tiny, "vgg").data_used, image_shape=(16, 16, 3))


@pytest.fixture
def model(tmp_path) -> FileOptions:
    return FileOptions(name=f"{write_networks(tmp_path)}:Net")


@pytest.fixture
def comparisons(monkeypatch) -> list[tuple]:
    """The image shapes of comparisons that are made, each as by a new process."""
    made, cut_for = [], construct.cut_for

    def recorded(options, network, classes, shape, check=False):
        if check:
            made.append(shape)
        return cut_for(options, network, classes, shape, check)

    monkeypatch.setattr(construct, "cut_for", recorded)
    monkeypatch.setattr(construct, "compared", Forgetful())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_file, "folders", [])
    return made


class Forgetful(dict):
    """What no two processes share."""

    def __contains__(self, key: object) -> bool:
        return False


def test_a_network_is_compared_once_and_its_notes_are_told_each_time(
    used, model, comparisons, tmp_path, caplog
):
    caplog.set_level("INFO")
    wide = model.replace(options={"width": 64})
    for _ in range(3):
        compare_once(wide, used, tmp_path / "results")
    assert len(comparisons) == 1
    assert caplog.text.count("4 units, equal to the uncut network bit for bit") == 3
    (kept,) = (tmp_path / "results").iterdir()
    assert caplog.text.count(kept.name) == 2
    told = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert len(told) == 3 * len(set(told))
    compare_anew(wide, used, tmp_path / "results")
    assert len(comparisons) == 2, "as `fobench units` does"


OUTSIDE = """
import json, pathlib

class Outside(Net):
    def __init__(self, num_classes):
        beside = pathlib.Path(__file__).with_name("o").read_text()
        super().__init__(num_classes, **json.loads(beside))
"""


def test_a_network_that_a_file_beside_its_own_changes_is_built_each_time_and_compared_again(
    used, comparisons, tmp_path
):
    write_networks(tmp_path, source=SOURCE + OUTSIDE)
    model, beside = FileOptions(name=f"{tmp_path / 'mynet.py'}:Outside"), tmp_path / "o"
    for number, content in enumerate(['{"width": 4}', '{"width": 8}'], start=1):
        beside.write_text(content)
        for _ in range(2):
            network_on_meta.cache_clear()
            compare_once(model, used, tmp_path / "results")
        assert len(comparisons) == number
    network_on_meta.cache_clear()
    beside.unlink()
    with pytest.raises(UserError, match="making the network raised FileNotFoundError"):
        compare_once(model, used, tmp_path / "results")


def changed_size(used, monkeypatch, folder):
    return replace(used, image_shape=(24, 24, 3))


def changed_version(used, monkeypatch, folder):
    monkeypatch.setattr(compared, "version_of", lambda package: "99")
    return used


def changed_code(used, monkeypatch, folder):
    monkeypatch.setattr(compared, "fobench_digest", lambda: "other")
    return used


def changed_file(used, monkeypatch, folder):
    write_networks(folder, source=f"{SOURCE}\n# edited\n")
    return used


@pytest.mark.parametrize("change", [changed_size, changed_version, changed_code, changed_file])
def test_it_is_compared_again_where_the_outcome_might_be_another(
    used, model, comparisons, tmp_path, monkeypatch, change
):
    compare_once(model, used, tmp_path / "results")
    used = change(used, monkeypatch, tmp_path)
    compare_once(model.replace(), used, tmp_path / "results")
    assert len(comparisons) == 2
    compare_once(model.replace(), used, tmp_path / "results")
    assert len(comparisons) == 2, "kept again"


def test_a_network_that_differs_is_not_kept_and_a_damaged_file_is_reported(
    used, model, comparisons, tmp_path
):
    folder = tmp_path / "results"
    with pytest.raises(UserError, match="the network has 4 outputs"):
        compare_once(model.replace(options={"num_classes": 4}), used, folder)
    assert not folder.exists()
    compare_once(model, used, folder)
    (kept,) = folder.iterdir()
    whole = kept.read_text()
    kept.write_text(whole.replace('"units": [', '"others": ['))
    with pytest.raises(UserError, match="does not hold a valid comparison: restore it"):
        compare_once(model, used, folder)
    kept.write_text(whole[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        compare_once(model, used, folder)


def test_a_family_written_as_units_leaves_no_file(used, tiny, tmp_path):
    compare_once(small_run(tiny, "vgg").model, used, tmp_path / "results")
    assert not (tmp_path / "results").exists()
