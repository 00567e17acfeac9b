"""What tasks send to the driver goes through an actor on the driver's node, which stays."""

from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@dataclass(frozen=True)
class Sent:
    """A message of the task of a block, by the block's number."""

    block: int
    message: object


class Mailbox:
    """Keeps messages until they are taken, those of each task in their order.

    So no method waits: Ray keeps the order of calls, but not those of actors that are asynchronous.
    """

    def __init__(self) -> None:
        self._messages: list[object] = []

    def put(self, message: object) -> None:
        self._messages.append(message)

    def take(self) -> list[object]:
        """All that have come since the last time."""
        found, self._messages = self._messages, []
        return found


def start_mailbox() -> Any:
    """One on this node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
