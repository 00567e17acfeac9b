"""What is checked before Ray is imported, as it need not be installed."""

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from fobench.errors import UserError
from fobench.sweep.options import SweepOptions
from fobench.sweep.plan import Plan

LOCAL = "local"  # Ray's word for a new cluster of this machine alone
CONNECT_SECONDS = 10.0


def train(plans: Sequence[Plan], options: SweepOptions) -> bool:
    """Train the runs on a cluster. Returns whether all are finished.

    Raises Stopped if it is stopped or out of time, and UserError for what the user can mend.
    """
    options = replace(options, address=options.address or os.environ.get("RAY_ADDRESS") or LOCAL)
    require_usable(options)
    from fobench.sweep.ray.driver import train_blocks

    return train_blocks(plans, options)


def require_usable(options: SweepOptions) -> None:
    """Raises UserError with all that stands against a sweep on Ray."""
    problems = []
    if find_spec("ray") is None:
        problems.append("--on ray needs Ray: install it with `pip install 'fobench[ray]'`")
    if options.jobs > 1:
        problems.append(
            "--jobs and --on ray: Ray starts as many blocks at once as it has room for; give "
            "--untimed if they may share a machine, and --resources for how much each takes"
        )
    if options.force:
        problems.append(
            "--force and --on ray: a block whose worker is lost would begin from scratch; give "
            "--force to a `fobench run` without --on ray, or move the results away"
        )
    if not options.wait and options.timed:
        problems.append(
            "--no-wait and --on ray: timed blocks on one machine wait for each other; leave it out"
        )
    if options.device == "cuda" and not options.resources.get("gpus"):
        problems.append(
            "--device cuda and --on ray: Ray hides the GPUs from tasks that ask for none; give "
            "--resources gpus=1"
        )
    problems += filter(None, [address_problem(options.address)])
    if problems:
        raise UserError(problems)


def address_problem(address: str) -> str | None:
    """Why no cluster can be had there; None for those that Ray looks for itself."""
    if address.startswith("ray://"):
        return (
            f"--address {address}: the sweep needs a direct connection; start it on a machine of "
            "the cluster, with the address HOST:PORT or auto"
        )
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return None
    try:
        # Ray would try for minutes.
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS):
            return None
    except (OSError, OverflowError) as error:
        return (
            f"--address {address}: no Ray cluster answers there ({error}); start one with `ray "
            "start --head` and give the address that it prints"
        )
