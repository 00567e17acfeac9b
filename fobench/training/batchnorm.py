"""BatchNorm where several ranks train one run: statistics of each rank's images, or of all.

By default each rank normalises its part of a batch by that part's mean and variance, as
DistributedDataParallel does. Running statistics are then averaged where ranks must agree.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fobench.errors import UserError
from fobench.freezing.frozen import become
from fobench.machine.ranks import Ranks, current

RUNNING = ("running_mean", "running_var")
# Of classes that compute as torch's do.
USUAL = (_BatchNorm.forward, nn.SyncBatchNorm.forward)


def average_running_statistics(units: Iterable[nn.Module], ranks: Ranks) -> None:
    """Make the buffers of units equal on all ranks: means of running statistics, the first's rest.

    The variance is so the mean one of a rank's part of a batch, as each rank normalises by that.
    """
    if ranks.count == 1:
        return
    averaged, copied = [], []
    for module in {id(each): each for unit in units for each in unit.modules()}.values():
        for name, buffer in module.named_buffers(recurse=False):
            (averaged if name in RUNNING else copied).append(buffer)
    ranks.average(averaged)
    ranks.copy_from_first(copied)


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Make each BatchNorm normalise by the statistics of all ranks' images.

    Names and values of parameters and buffers stay as they are.

    Raises UserError if there is none, or for one whose class computes in its own way.
    """
    norms = [each for each in network.modules() if isinstance(each, _BatchNorm)]
    own = {type(each).__name__ for each in norms if type(each).forward not in USUAL}
    if own or not norms:
        found = f"a {', '.join(sorted(own))}, which goes its own way" if own else "no BatchNorm"
        raise UserError(
            f"[train] sync_batchnorm = true: the network has {found}: leave the option out"
        )
    for norm in norms:
        become(norm, nn.SyncBatchNorm if device.type == "cuda" else BatchNormOfRanks)
        norm.process_group = None  # the default one


class BatchNormOfRanks(nn.SyncBatchNorm):
    """SyncBatchNorm for the CPU, where torch's refuses to train."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        dims = [0, *range(2, x.dim())]
        count = wide.new_tensor([x.numel() / x.shape[1]])
        sums = SumOfRanks.apply(torch.cat([wide.sum(dims), count]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        # Of distances from the mean: a mean of squares, less the mean's, would cancel digits.
        apart = wide - along(mean, x)
        variance = SumOfRanks.apply(apart.square().sum(dims)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        normal = apart * along((variance + self.eps).rsqrt(), x)
        if self.affine:
            normal = normal * along(self.weight, x) + along(self.bias, x)
        return normal.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, unbiased_variance: torch.Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # the mean of all batches
            momentum = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), momentum)


class SumOfRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks, whose losses are parts of one."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        current().add([total])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return SumOfRanks.apply(gradient)


def along(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Values [C] for each channel of x [B, C, …]."""
    return values.view(-1, *[1] * (x.dim() - 2))
