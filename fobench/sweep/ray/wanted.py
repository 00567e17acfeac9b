"""What a block asks of a node, and what the nodes of a cluster have. No Ray."""

from collections.abc import Mapping, Sequence
from math import floor, inf
from typing import Any

from fobench.sweep.options import SweepOptions

DEFAULT_CPUS = 1.0
# Ray's own names of what has names here.
RAY_NAMES = {"cpus": "CPU", "gpus": "GPU"}


def wanted(resources: Mapping[str, float]) -> dict[str, float]:
    """What a block asks for, by Ray's names."""
    return {RAY_NAMES.get(name, name): amount for name, amount in with_default(resources).items()}


def with_default(resources: Mapping[str, float]) -> dict[str, float]:
    return {"cpus": DEFAULT_CPUS} | dict(resources)


def threads_of(resources: Mapping[str, float]) -> int:
    """As many as a block has processors."""
    return max(1, floor(with_default(resources)["cpus"]))


def task_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """The same for `ray.remote`. A task never has more GPUs than it asks for."""
    amounts = with_default(resources)
    return {
        "num_cpus": amounts.pop("cpus"),
        "num_gpus": amounts.pop("gpus", 0.0),
        "resources": amounts,
    }


def room_for(node: Mapping[str, float], resources: Mapping[str, float]) -> float:
    """How many blocks a node with so much, by Ray's names, has room for at once."""
    asked = {name: amount for name, amount in wanted(resources).items() if amount}
    return min((floor(node.get(name, 0.0) / amount) for name, amount in asked.items()), default=inf)


def as_text(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items()) or "nothing"


def warnings(nodes: Mapping[str, Mapping[str, float]], options: SweepOptions) -> Sequence[str]:
    """What a user should know before blocks are trained. `nodes` is what each has, by name."""
    asked = wanted(options.resources)
    rooms = [room_for(node, options.resources) for node in nodes.values()]
    if not any(rooms):
        has = "; ".join(f"{name} has {as_text(node)}" for name, node in nodes.items())
        return [
            f"no node has what a block asks for ({as_text(asked)}), so that all wait for one that "
            f"does: {has}"
        ]
    if asked.get("GPU"):
        return []
    found = []
    if options.device != "cpu" and any(node.get("GPU") for node in nodes.values()):
        found.append(
            "nodes have GPUs, but a task that asks for none does not see them: give --resources "
            "gpus=1, or --device cpu"
        )
    if options.timed and len(nodes) > 1 and max(rooms) > 1:
        found.append(
            "a node has room for several blocks at once, but timed runs have their machine to "
            "themselves, so that blocks will wait on a node while others may be idle: give "
            "--resources cpus=N with all processors of a node, or a resource of which each node "
            "has one, or --untimed"
        )
    return found
