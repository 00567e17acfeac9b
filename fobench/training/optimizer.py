"""The optimizer: the same for all methods, so that only the work that freezing spares differs."""

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from fobench.experiment.options import TrainOptions

# Where a unit's update is one fused kernel, which reads the rate from the device, so that a
# captured step follows it.
FUSED = {"cuda"}


def sgd(network: nn.Sequential, options: TrainOptions) -> Optimizer:
    """SGD with a parameter group for each unit, in order."""
    device = next(network.parameters()).device
    optimizer = SGD(
        [
            {"params": list(unit.parameters()), "initial_lr": options.lr, "lr": options.lr}
            for unit in network
        ],
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        fused=True if device.type in FUSED else None,
    )
    put_rates_on(optimizer, device)
    return optimizer


def load_state(optimizer: Optimizer, state: dict[str, Any], device: torch.device) -> None:
    """Load the state of an optimizer; rates and momentum are then on the device again."""
    optimizer.load_state_dict(state)
    put_rates_on(optimizer, device)


def put_rates_on(optimizer: Optimizer, device: torch.device) -> None:
    """Where updates are fused, make each group's rate a tensor [] on the device."""
    if device.type in FUSED:
        for group in optimizer.param_groups:
            rate = torch.as_tensor(group["lr"], dtype=torch.float32)
            group["lr"] = rate.to(device, copy=True)
