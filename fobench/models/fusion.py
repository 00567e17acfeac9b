"""BatchNorm and the ReLU behind it as one kernel, compiled by torch.compile."""

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.functional import batch_norm, relu

from fobench.errors import UserError


class BatchNormReLU(nn.BatchNorm2d):
    """BatchNorm2d followed by ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        # Views, as torch compiles for each shape of a parameter anew.
        scale, shift = self.weight.view_as(self.weight), self.bias.view_as(self.bias)
        tensors = (x, self.running_mean, self.running_var, scale, shift)
        return compiled()(*tensors, self.training, self.momentum, self.eps)


def batch_norm_relu(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return relu(batch_norm(x, *arguments))


@cache
def compiled() -> Any:
    """The function, compiled for all shapes.

    It fails if torch would give up compiling it, which it does after a few kinds of call: those of
    a run are training with and without a gradient of the input, and evaluation.
    """
    return torch.compile(batch_norm_relu, dynamic=True, fullgraph=True)


def fuse_batch_norm_relu(network: nn.Module) -> int:
    """Make each BatchNorm2d in front of a ReLU in an nn.Sequential one with it. Returns how many.

    An nn.Sequential that the cut took apart, because its modules are of several units, is none.
    Names and values of parameters and buffers stay as they are. Modules of other classes, and
    BatchNorms without running statistics or weights, are left alone.

    Raises UserError if there is none.
    """
    fused = 0
    for sequence in [each for each in network.modules() if type(each) is nn.Sequential]:
        for (_, norm), (name, activation) in pairwise(list(sequence.named_children())):
            if type(norm) is not nn.BatchNorm2d or type(activation) is not nn.ReLU:
                continue
            if norm.affine and norm.track_running_stats and norm.momentum is not None:
                norm.__class__ = BatchNormReLU
                setattr(sequence, name, nn.Identity())
                fused += 1
    if not fused:
        raise UserError(
            "[train] fuse_batchnorm = true: no unit of the network has a BatchNorm2d right in "
            "front of a ReLU in an nn.Sequential: leave the option out"
        )
    return fused
