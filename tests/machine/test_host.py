"""One hash for each machine: copies of a machine have two, containers of a machine have one."""

import platform

import pytest

from fobench.machine.host import CONTAINER_VARIABLES, host

MACHINE_ID = "3d1219c7c4c5404aaa1f6d2a48adfda4\n"
BOOT_ID = "dededc26-cb8e-494b-82a5-dea296fe7d49\n"


@pytest.fixture(autouse=True)
def _no_container(monkeypatch):
    for name in CONTAINER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("FOBENCH_HOST", raising=False)


@pytest.fixture
def host_of(tmp_path, monkeypatch):
    """The hash of a machine with these files and this name."""
    machines = iter(range(100))

    def found(name: str, machine_id=None, boot_id=None, marker=None) -> str:
        root = tmp_path / str(next(machines))
        files = {"etc/machine-id": machine_id, "proc/sys/kernel/random/boot_id": boot_id}
        if marker:
            files[marker] = ""
        for path, text in files.items():
            if text is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
        monkeypatch.setattr(platform, "node", lambda: name)
        return host(root)

    return found


def test_copies_of_a_virtual_machine_are_two_hosts(host_of):
    """They share the machine's id, but not its name."""
    assert host_of("one", MACHINE_ID) != host_of("two", MACHINE_ID)


def test_a_machine_stays_one_host_when_it_restarts(host_of):
    assert host_of("one", MACHINE_ID, BOOT_ID) == host_of("one", MACHINE_ID, BOOT_ID[::-1])


@pytest.mark.parametrize(
    "of_image",
    [
        {},
        {"machine_id": ""},
        {"machine_id": "uninitialized\n"},
        {"machine_id": MACHINE_ID, "marker": ".dockerenv"},
        {"machine_id": MACHINE_ID, "marker": "run/.containerenv"},
    ],
)
def test_containers_of_a_machine_are_one_host(host_of, of_image):
    """Their names are random, and their images have an id or none."""
    one = host_of("6f1d", boot_id=BOOT_ID, **of_image)
    assert one == host_of("a93c", boot_id=BOOT_ID, **of_image)
    assert one != host_of("6f1d", boot_id=BOOT_ID[::-1], **of_image), "another machine"


@pytest.mark.parametrize("variable", CONTAINER_VARIABLES)
def test_containers_that_only_a_variable_tells_are_one_host(host_of, monkeypatch, variable):
    monkeypatch.setenv(variable, "podman")
    assert host_of("6f1d", MACHINE_ID, BOOT_ID) == host_of("a93c", MACHINE_ID, BOOT_ID)


def test_a_system_with_neither_id_is_known_by_its_name(host_of):
    """Such as macOS."""
    assert host_of("one") == host_of("one") != host_of("two")


def test_a_name_given_stands_for_the_host(host_of, monkeypatch):
    """Machines made from one image can share all else; a container can outlive a restart."""
    unnamed = host_of("image", MACHINE_ID)
    monkeypatch.setenv("FOBENCH_HOST", "rack 1")
    one = host_of("image", MACHINE_ID)
    assert one == host_of("6f1d", MACHINE_ID, BOOT_ID, ".dockerenv"), "whatever else it has"
    monkeypatch.setenv("FOBENCH_HOST", "rack 2")
    assert len({unnamed, one, host_of("image", MACHINE_ID)}) == 3
    monkeypatch.setenv("FOBENCH_HOST", "")
    assert host_of("image", MACHINE_ID) == unnamed, "empty is not set"
