"""The optimizer: the same for all methods, so that only the work that freezing spares differs."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW, Optimizer

from fobench.cutting.cut_network import CutNetwork
from fobench.experiment.options import TrainOptions
from fobench.models.user_file import users_code
from fobench.training.gradients import Gradients

# Where a group's update is one fused kernel, which reads the rate from the device, so that a
# captured step follows it.
FUSED = {"cuda"}
# In the names of parameters: a bias for each distance of two places, a row each.
RELATIVE_POSITIONS = "relative_position"
# How updates are carried out: by the device that an optimizer is on, not the one that saved it.
OF_THE_DEVICE = ("fused", "foreach", "capturable")


def build_optimizer(network: nn.Sequential, options: TrainOptions) -> Optimizer:
    """The optimizer, with a parameter group or two for each unit, in order."""
    device = next(network.parameters()).device
    exempt = exempt_from_decay(network) if options.decay_on == "matrices" else set()
    groups = [
        {"params": parameters, "weight_decay": decay, "initial_lr": options.lr, "lr": options.lr}
        for unit in network
        for parameters, decay in by_decay(list(unit.parameters()), options, exempt)
        if parameters
    ]
    optimizer = OPTIMIZERS[options.optimizer](groups, options, device.type in FUSED)
    put_rates_on(optimizer, device)
    return optimizer


def by_decay(
    parameters: list[nn.Parameter], options: TrainOptions, exempt: set[int]
) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters by their weight decay; `exempt` are the ids of some that have none."""
    decay = options.weight_decay
    if options.decay_on == "all":
        return [(parameters, decay)]
    decayed = [each for each in parameters if is_matrix(each) and id(each) not in exempt]
    ids = set(map(id, decayed))
    return [(decayed, decay), ([each for each in parameters if id(each) not in ids], 0.0)]


def is_matrix(parameter: torch.Tensor) -> bool:
    """Whether it is a matrix [a, b] larger than 1 both ways, once flattened behind its first axis.

    Kernels of convolutions and linear layers are. Biases, scales and shifts [n] or [n, 1, 1] are
    not, nor class tokens and position embeddings [1, …].
    """
    return parameter.ndim > 1 and 1 < len(parameter) < parameter.numel()


def exempt_from_decay(network: nn.Module) -> set[int]:
    """The ids of parameters without weight decay, whatever their shapes.

    They are relative position tables, and what a module names in `no_weight_decay()`, as timm's
    networks do, by their names in it.
    """
    root = network.original if isinstance(network, CutNetwork) else network
    found: set[int] = set()
    for module in root.modules():
        named = names_without_decay(module)
        for name, parameter in module.named_parameters(remove_duplicate=False):
            if name in named or RELATIVE_POSITIONS in name.rpartition(".")[2]:
                found.add(id(parameter))
    return found


def names_without_decay(module: nn.Module) -> set[str]:
    """Raises UserError if the module's own code fails."""
    told = getattr(module, "no_weight_decay", None)
    if not callable(told):
        return set()
    with users_code(type(module).__name__, "no_weight_decay()"):
        return set(told())


def sgd(groups: list[dict[str, Any]], options: TrainOptions, fused: bool) -> Optimizer:
    return SGD(
        groups,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        fused=True if fused else None,
    )


def adamw(groups: list[dict[str, Any]], options: TrainOptions, fused: bool) -> Optimizer:
    # A captured step must be capturable; the first steps, which are taken eagerly, are no mistake.
    warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
    return AdamW(
        groups,
        lr=options.lr,
        betas=options.betas,
        eps=options.eps,
        weight_decay=options.weight_decay,
        fused=True if fused else None,
        capturable=fused,
    )


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], TrainOptions, bool], Optimizer]] = {
    "sgd": sgd,
    "adamw": adamw,
}
# How many values as large as a parameter each keeps of it.
MOMENTS: dict[str, Callable[[TrainOptions], int]] = {
    "sgd": lambda options: 1 if options.momentum else 0,
    "adamw": lambda options: 2,
}


def update(
    optimizer: Optimizer, loss: torch.Tensor, gradients: Gradients, clip_grad_norm: float | None
) -> None:
    """The backward pass from a loss, and the update.

    The loss is this rank's part of the batch's mean: gradients are added up over the ranks. Where
    the norm of all is larger than `clip_grad_norm`, they are scaled down to it. Does not wait for
    the device.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradients.add_up()
    if clip_grad_norm is not None:
        clip_grad_norm_(gradients.parameters, clip_grad_norm)
    optimizer.step()


def load_state(optimizer: Optimizer, state: dict[str, Any], device: torch.device) -> None:
    """Load the state of an optimizer; rates and moments are then on the device again."""
    groups = [
        saved | {key: own[key] for key in OF_THE_DEVICE if key in own}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict(state | {"param_groups": groups})
    put_rates_on(optimizer, device)


def put_rates_on(optimizer: Optimizer, device: torch.device) -> None:
    """Where updates are fused, make each group's rate a tensor [] on the device."""
    if device.type in FUSED:
        for group in optimizer.param_groups:
            rate = torch.as_tensor(group["lr"], dtype=torch.float32)
            group["lr"] = rate.to(device, copy=True)
