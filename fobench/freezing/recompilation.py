"""Freezing under `torch.compile`, which compiles a network anew whenever a unit freezes."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def warn_if_compilation_will_end(
    network: Any, freeze_steps: Sequence[int], total_steps: int
) -> None:
    """Warn if torch would stop compiling: it compiles a network that changes a few times only.

    Units that are compiled one by one need no warning: a frozen unit's code serves for the next.
    """
    if not is_compiled(network):
        return
    import torch._dynamo

    config = torch._dynamo.config
    limit = getattr(config, "recompile_limit", None) or config.cache_size_limit
    needed = 1 + len({step for step in freeze_steps if step < total_steps})
    if needed > limit:
        warnings.warn(
            f"torch.compile compiles this network anew at each of {needed - 1} freezes, but only "
            f"{limit} times in all, and then runs it without: compile each unit instead, or set "
            f"torch._dynamo.config.recompile_limit to {2 * needed}",
            stacklevel=3,
        )


def is_compiled(network: Any) -> bool:
    """Whether a network is compiled as a whole, by `torch.compile` or `network.compile()`."""
    while isinstance(network, DataParallel | DistributedDataParallel):
        network = network.module
    if not isinstance(network, nn.Module):
        return False
    return hasattr(network, "_orig_mod") or network._compiled_call_impl is not None
