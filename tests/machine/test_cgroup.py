"""The limits are found where either version of control groups keeps them."""

import pytest

from fobench.machine.cgroup import cpu_quota, memory


def group(root, folder, limit, held, idle, version=2):
    """Write the files of one group."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    mount = root / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    path = mount / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / names[0]).write_text(f"{limit}\n")
    (path / names[1]).write_text(f"{held}\n")
    (path / "memory.stat").write_text(f"anon 1\n{names[2]} {idle}\n")


def belongs(root, *lines):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")


def test_the_own_group_of_a_container(tmp_path):
    belongs(tmp_path, "0::/")
    group(tmp_path, "", limit=1000, held=700, idle=200)
    assert memory(tmp_path) == (1000, 500), "idle pages of files are not held"


def test_a_group_above_may_leave_less(tmp_path):
    belongs(tmp_path, "0::/slurm/job/step")
    group(tmp_path, "slurm/job/step", limit=900, held=100, idle=0)
    group(tmp_path, "slurm/job", limit=1000, held=950, idle=0)
    group(tmp_path, "slurm", limit="max", held=5000, idle=0)
    assert memory(tmp_path) == (1000, 950)


def test_the_first_version_and_a_container_that_does_not_see_its_path(tmp_path):
    belongs(tmp_path, "5:devices:/", "4:cpu,memory:/docker/12ab", "0::/")
    group(tmp_path, "", limit=1000, held=400, idle=100, version=1)
    assert memory(tmp_path) == (1000, 300)


@pytest.mark.parametrize("limit", ["max", ""])
def test_no_limit_is_none(tmp_path, limit):
    belongs(tmp_path, "0::/")
    group(tmp_path, "", limit=limit, held=400, idle=100)
    assert memory(tmp_path) is None


def test_no_control_groups_are_no_limit(tmp_path):
    assert memory(tmp_path) is None
    belongs(tmp_path, "0::/")
    assert memory(tmp_path) is None


def cpu_group(root, folder, quota, period=100_000, version=2):
    """Write the files of one group's CPU quota."""
    path = root / "sys/fs/cgroup" / ("cpu" if version == 1 else "") / folder
    path.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (path / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (path / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (path / "cpu.cfs_period_us").write_text(f"{period}\n")


def test_a_quota_of_cpus_is_that_of_the_tightest_group(tmp_path):
    belongs(tmp_path, "0::/slurm/job/step")
    cpu_group(tmp_path, "slurm/job/step", "max")
    cpu_group(tmp_path, "slurm/job", 150_000)
    cpu_group(tmp_path, "slurm", 400_000)
    assert cpu_quota(tmp_path) == 1.5


def test_a_quota_of_the_first_version_in_a_container(tmp_path):
    belongs(tmp_path, "4:memory:/docker/12ab", "2:cpu,cpuacct:/docker/12ab", "0::/")
    cpu_group(tmp_path, "", 50_000, period=25_000, version=1)
    assert cpu_quota(tmp_path) == 2


@pytest.mark.parametrize(("version", "unlimited"), [(1, "-1"), (2, "max"), (2, ""), (1, "")])
def test_without_a_quota_it_is_none(tmp_path, version, unlimited):
    assert cpu_quota(tmp_path) is None
    belongs(tmp_path, "2:cpu:/" if version == 1 else "0::/")
    assert cpu_quota(tmp_path) is None
    cpu_group(tmp_path, "", unlimited, version=version)
    assert cpu_quota(tmp_path) is None
