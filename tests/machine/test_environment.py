"""The environment is recorded right in odd places: whoever owns the checkout, whatever is set."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
import torch

import fobench
from fobench.experiment.options import TrainOptions
from fobench.machine import environment, memory

ROOT = Path(fobench.__file__).parents[1]
SOMEBODY = 65534  # nobody, on Linux
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> str:
    """What git prints, without anybody's settings."""
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    surroundings |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    command = ["git", *identity, "-C", str(folder), *words]
    ran = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def repository(folder: Path, name: str = "fobench") -> Path:
    """A repository with a package of that name; the package's folder."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"# {folder}\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return package


@pytest.fixture
def recorded(monkeypatch):
    """What would be recorded if fobench lay in that folder."""
    monkeypatch.delenv("FOBENCH_COMMIT", raising=False)

    def found(package: Path) -> dict:
        monkeypatch.setattr(fobench, "__file__", str(package / "__init__.py"))
        return environment.commit()

    return found


def test_a_checkout_is_recorded_with_whether_its_code_has_changes(recorded, tmp_path):
    package = repository(tmp_path / "checkout")
    head = git(tmp_path / "checkout", "rev-parse", "HEAD")
    (tmp_path / "checkout" / "results.csv").write_text("not code")
    assert recorded(package) == {"commit": head, "dirty": False}
    (package / "__init__.py").write_text("# changed\n")
    assert recorded(package) == {"commit": head, "dirty": True}


def test_variables_for_another_repository_change_nothing(recorded, tmp_path, monkeypatch):
    """As in a git hook, or in a shell set up for a repository of dotfiles."""
    package, other = repository(tmp_path / "checkout"), repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.parent / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.parent))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.parent / ".git" / "index"))
    head = git(package.parent, "rev-parse", "HEAD")
    assert recorded(package) == {"commit": head, "dirty": False}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_checkout_of_another_user_is_recorded(recorded, tmp_path, monkeypatch):
    """Git itself refuses to read it."""
    monkeypatch.setenv("HOME", str(tmp_path))  # without a safe.directory
    package = repository(tmp_path / "checkout")
    head = git(package.parent, "rev-parse", "HEAD")
    for path in (package.parent, *package.parent.rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    with pytest.raises(subprocess.CalledProcessError):
        git(package.parent, "status")
    assert recorded(package) == {"commit": head, "dirty": False}


def test_a_worktree_and_a_shallow_clone_are_recorded(recorded, tmp_path):
    checkout = repository(tmp_path / "checkout").parent
    git(checkout, "worktree", "add", "--quiet", str(tmp_path / "worktree"))
    git(tmp_path, "clone", "--quiet", "--depth=1", checkout.as_uri(), str(tmp_path / "shallow"))
    head = git(checkout, "rev-parse", "HEAD")
    for copy in ("worktree", "shallow"):
        assert recorded(tmp_path / copy / "fobench") == {"commit": head, "dirty": False}


def test_a_package_that_no_repository_tracks_has_no_commit(recorded, tmp_path):
    """Installed within a project's folder, or where there is no repository."""
    unknown = {"commit": None, "dirty": None}
    project = repository(tmp_path / "project", name="other").parent
    inside = project / ".venv" / "fobench"
    inside.mkdir(parents=True)
    (inside / "__init__.py").touch()
    assert recorded(inside) == unknown
    shutil.copytree(inside, tmp_path / "site-packages" / "fobench")
    assert recorded(tmp_path / "site-packages" / "fobench") == unknown
    (tmp_path / "site-packages" / ".git").mkdir()
    assert recorded(tmp_path / "site-packages" / "fobench") == unknown, "a broken repository"


@pytest.mark.parametrize(
    "key",
    [
        *("device", "gpu", "gpu_uuid", "driver", "cuda", "cudnn", "cudnn_benchmark"),
        *("precision", "step", "processor", "instructions", "threads"),
    ],
)
def test_what_bits_depend_on(key):
    described = environment.describe(torch.device("cpu"))
    assert key in described
    before = environment.bits_depend_on(described)
    assert environment.bits_depend_on(described | {key: "other"}) != before


def test_the_environment_is_that_of_a_runs_settings():
    cpu = torch.device("cpu")
    settings = TrainOptions(epochs=1, batch_size=2, precision="bfloat16")
    described = environment.describe(cpu, settings)
    assert (described["precision"], described["step"]) == ("bfloat16", "eager")
    assert environment.describe(cpu)["precision"] == "float32"


def test_without_git_there_is_no_commit(recorded, tmp_path, monkeypatch):
    package = repository(tmp_path / "checkout")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert recorded(package) == {"commit": None, "dirty": None}


@pytest.mark.parametrize(
    ("given", "commit", "dirty"),
    [
        ("1278656", "1278656", False),
        ("1278656-dirty", "1278656", True),
        (" 1278656\n", "1278656", False),
        ("", None, None),
        ("-dirty", None, None),
    ],
)
def test_a_copy_without_git_has_the_commit_that_a_variable_says(
    recorded, tmp_path, monkeypatch, given, commit, dirty
):
    checkout = repository(tmp_path / "checkout")
    copied = shutil.copytree(checkout, tmp_path / "copied" / "fobench")
    monkeypatch.setenv("FOBENCH_COMMIT", given)
    assert recorded(copied) == {"commit": commit, "dirty": dirty}
    head = git(checkout.parent, "rev-parse", "HEAD")
    assert recorded(checkout) == {"commit": head, "dirty": False}, "a checkout knows better"


def test_a_system_without_proc_and_affinity_is_described(monkeypatch, tmp_path):
    """Such as macOS, or a sandbox."""
    usual = environment.describe(torch.device("cpu"))

    def missing():
        raise FileNotFoundError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", missing)
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    found = environment.describe(torch.device("cpu"))
    assert found["processor"] == (platform.processor() or platform.machine())
    assert found["memory_bytes"] == pytest.approx(usual["memory_bytes"], rel=0.1)
    assert (found["cores"], found["cpus_allowed"]) == (None, None)
    free, total = memory.available_memory(torch.device("cpu"))
    assert 0 < free <= total
