"""The connection to a cluster: a running one, or one that Ray starts on this machine."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

# Ray reads them when it is imported. It tells its makers nothing, and prints no hints of its own.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")

import ray

from fobench.errors import UserError
from fobench.machine.interruption import SIGNALS
from fobench.sweep.options import SweepOptions
from fobench.sweep.ray.wanted import as_text, wanted, warnings

log = logging.getLogger(__name__)


@contextmanager
def connected(address: str) -> Iterator[None]:
    """In the block, this process belongs to a cluster.

    A local one is new, of this machine alone, and ends with the block. Signals are handled as
    before.

    Raises UserError if it cannot be had.
    """
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"--address {address}: no Ray cluster can be had ({reason}); start one with `ray "
                "start --head`, and give the address that it prints, or auto on its machines"
            ) from error
        finally:
            for each, handler in before.items():
                if handler is not None:  # of a C library
                    signal.signal(each, handler)
        yield
    finally:
        ray.shutdown()


def log_cluster(blocks: int, options: SweepOptions) -> None:
    """Log what the blocks ask for, and why some may wait."""
    log.info("%d blocks on Ray, each with %s", blocks, as_text(wanted(options.resources)))
    for warning in warnings(nodes(), options):
        log.warning("%s", warning)


def nodes() -> dict[str, dict[str, float]]:
    """What each living node of the cluster has, by its name."""
    found = {}
    for number, node in enumerate(filter(lambda each: each["Alive"], ray.nodes()), start=1):
        name = node["NodeManagerHostname"]
        has = {
            resource: amount
            for resource, amount in node["Resources"].items()
            if not resource.startswith("node:") and "memory" not in resource
        }
        found[name if name not in found else f"{name} ({number})"] = has
    return found
