"""Shared fixtures: a tiny experiment, and the command line run in this process."""

import gc
import os
import pwd
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

from fobench.activations import places
from fobench.cli import main
from fobench.experiment.run import Run
from tests.activations.small_runs import small_run
from tests.networks import EACH

# No deadlines, as machines differ in speed; the same examples each time, but in `make test-all`.
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeating", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("repeating")

TINY = """
[experiment]
name = "tiny"

[data]
dataset = "synthetic"
train_size = 45
validation = 10
test_size = 20

[model]
name = "densenet"
depth = 10
growth_rate = 4

[train]
epochs = 3
batch_size = 10

[[method]]
name = "baseline"
epoch_share = [1.0, 0.5]

[[method]]
name = "freezeout"
scaling = "linear"
t0 = [0.3, 1.0]
"""


def pytest_collection_finish() -> None:
    """Each run collects its garbage: spare it what is imported and stays."""
    gc.freeze()


@pytest.fixture(params=EACH)
def run(request, tiny) -> Run:
    """A run of each network, 8 epochs of 5 steps, the last of 5 images; two have dropout."""
    return small_run(tiny, request.param)


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch, tmp_path_factory):
    """Tests use their own data folder and machine lock."""
    folder = tmp_path_factory.mktemp("surroundings")
    monkeypatch.setenv("FOBENCH_DATA", str(folder))
    monkeypatch.setenv("FOBENCH_LOCK", str(folder / "lock"))


@pytest.fixture(autouse=True)
def _ample_room(monkeypatch):
    """Stores have room, however full this machine is."""
    monkeypatch.setattr(places, "room_in_memory", lambda device: 10**9)
    monkeypatch.setattr(places, "room_on_disk", lambda: 10**9)


@pytest.fixture
def homeless(monkeypatch):
    """A process without HOME, of a user who has no passwd entry, and no default of ours."""

    def unknown(_):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("FOBENCH_DATA")
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An experiment that trains in seconds: 5 steps per epoch, the last batch short."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def fobench(tmp_path: Path):
    """Run a command in this process, in an empty folder."""

    def invoke(*words: str | Path) -> Result:

        before = Path.cwd()
        os.chdir(tmp_path)
        try:
            ran = CliRunner().invoke(main, [str(word) for word in words])
        finally:
            os.chdir(before)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception  # click makes it an exit status of 1, that of a failed run
        return ran

    return invoke


@pytest.fixture(scope="session")
def tiny_results(tmp_path_factory) -> Path:
    """The tiny experiment, trained once: the folder of its results."""

    folder = tmp_path_factory.mktemp("tiny-results")
    config = folder / "tiny.toml"
    config.write_text(TINY)
    ran = CliRunner(env={"FOBENCH_LOCK": str(folder / "lock")}).invoke(
        main, ["run", str(config), "--results", str(folder), "--device", "cpu"]
    )
    assert ran.exit_code == 0, ran.output
    return folder / "tiny"
