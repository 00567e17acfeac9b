"""~ in paths, with and without a home folder."""

import pwd
from pathlib import Path

import pytest

from fobench.errors import UserError
from fobench.machine.home import expand_user


def test_the_home_is_that_of_the_environment_or_of_the_named_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    root = pwd.getpwuid(0)
    assert expand_user("~/x.npz") == Path("/home/me/x.npz")
    assert expand_user("~") == Path("/home/me")
    assert expand_user(Path(f"~{root.pw_name}/x")) == Path(root.pw_dir) / "x"


@pytest.mark.parametrize("path", ["~", "~/x", Path("~/x")])
def test_without_a_home_there_is_no_path(homeless, path):
    with pytest.raises(UserError, match=rf"{path}: this user has no home folder.*set HOME, or"):
        expand_user(path)


def test_an_unknown_user_is_named():
    with pytest.raises(UserError, match=r"no user nosuch .* write \./~nosuch/x if the path itself"):
        expand_user("~nosuch/x")


@pytest.mark.parametrize("path", ["x", "./~/x", "/x/~", "x~", ""])
def test_other_paths_stay_as_they_are(homeless, path):
    assert expand_user(path) == Path(path)
