"""What blocks ask of a cluster, and what is refused before Ray is needed."""

import importlib.util
import math

import pytest

from fobench.errors import UserError
from fobench.machine.interruption import Deadline
from fobench.sweep.options import SweepOptions
from fobench.sweep.ray.start import require_usable
from fobench.sweep.ray.wanted import room_for, task_options, threads_of, warnings

NODE = {"CPU": 8.0, "GPU": 2.0}


@pytest.fixture
def without_ray(monkeypatch):
    find_spec = importlib.util.find_spec

    def missing(name, *more):
        return None if name == "ray" else find_spec(name, *more)

    monkeypatch.setattr("fobench.sweep.ray.start.find_spec", missing)


def test_without_ray_a_message_names_the_extra(fobench, tiny, tmp_path, without_ray):
    ran = fobench("run", tiny, "--on", "ray", "--resources", "cpus=2")
    assert ran.exit_code == 2
    assert "Error: --on ray needs Ray: install it with `pip install 'fobench[ray]'`" in ran.output
    assert not list(tmp_path.glob("results/tiny/*/run.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on", "ray", "--jobs", "2"), "Ray starts as many blocks at once as it has room for"),
        (("--on", "ray", "--force"), "a block whose worker is lost would begin from scratch"),
        (("--on", "ray", "--device", "cuda"), "give --resources gpus=1"),
        (("--on", "ray", "--address", "ray://head:10001"), "needs a direct connection"),
        (("--on", "ray", "--address", "127.0.0.1:1"), "no Ray cluster answers there"),
        (("--address", "auto"), "--address and --resources are for --on ray"),
        (("--resources", "cpus=2"), "--address and --resources are for --on ray"),
        (("--on", "ray", "--resources", "two"), "give amounts by name, such as cpus=8,gpus=1"),
        (("--on", "ray", "--resources", "cpus=1,cpus=2"), "give amounts by name"),
        (("--on", "ray", "--resources", "cpus=0"), "cpus=0: give a whole number, or a share"),
        (("--on", "ray", "--resources", "gpus=1.5"), "gpus=1.5: give a whole number, or a share"),
        (("--on", "ray", "--resources", "CPU=2"), "CPU: give cpus"),
    ],
)
def test_what_cannot_be_is_refused(fobench, tiny, without_ray, words, message):
    ran = fobench("run", tiny, *words)
    assert ran.exit_code == 2
    assert message in ran.output
    assert "Traceback" not in ran.output


def test_a_task_has_a_thread_a_processor():
    assert task_options({}) == {"num_cpus": 1.0, "num_gpus": 0.0, "resources": {}}
    asked = {"cpus": 4.0, "gpus": 0.5, "machine": 1.0}
    assert task_options(asked) == {"num_cpus": 4.0, "num_gpus": 0.5, "resources": {"machine": 1.0}}
    assert (threads_of({}), threads_of(asked), threads_of({"cpus": 0.5})) == (1, 4, 1)


@pytest.mark.parametrize(
    ("asked", "room"),
    [
        ({}, 8),
        ({"cpus": 3.0}, 2),
        ({"gpus": 1.0}, 2),
        ({"gpus": 0.5, "cpus": 1.0}, 4),
        ({"machine": 1.0}, 0),
        ({"cpus": 9.0}, 0),
    ],
)
def test_room_for_blocks_on_a_node(asked, room):
    assert room_for(NODE, asked) == room
    assert room < math.inf


def told(nodes: dict, device: str = "cpu", timed: bool = True, **resources: float) -> list[str]:
    options = SweepOptions(device, Deadline(None), beside_others=not timed, resources=resources)
    return list(warnings(nodes, options))


def test_one_who_will_wait_is_told_why():
    nodes = {"n1": NODE, "n2": {"CPU": 4.0}}
    (waits,) = told(nodes, machine=1.0)
    assert "no node has what a block asks for (CPU 1, machine 1)" in waits
    assert "n1 has CPU 8, GPU 2; n2 has CPU 4" in waits
    (shares,) = told(nodes)
    assert "timed runs have their machine to themselves" in shares
    assert not told(nodes, timed=False)
    assert not told({"n1": NODE}), "they wait in a row anyway"
    assert not told(nodes, cpus=8.0)
    assert not told(nodes, device="auto", gpus=1.0), "a card a block"


def test_blocks_wait_for_each_other():
    with pytest.raises(UserError, match="timed blocks on one machine wait for each other"):
        require_usable(SweepOptions("cpu", Deadline(None), wait=False, address="local"))


def test_one_who_leaves_the_gpus_idle_is_told():
    (idle,) = told({"n1": NODE}, device="auto")
    assert "give --resources gpus=1, or --device cpu" in idle
