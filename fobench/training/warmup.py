"""Warm-up steps before timing starts, so that no run is charged for one-off costs."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from fobench.data.split import Data, Split
from fobench.experiment.run import Run
from fobench.machine.device import autocast
from fobench.machine.memory import peak_memory, reset_peak_memory
from fobench.machine.ranks import ALONE, Ranks
from fobench.machine.values import map_values
from fobench.training.gradients import Gradients
from fobench.training.optimizer import update

STEPS = 3
# Of 1000 images of 32 by 32. On CUDA, where starting kernels takes longer than they do on small
# batches; on the CPU larger batches take no less time, and would round sums over images otherwise.
EVALUATION_PIXELS = 1000 * 32 * 32


def warm_up(
    network: nn.Sequential, optimizer: Optimizer, data: Data, run: Run, ranks: Ranks = ALONE
) -> int:
    """Train and evaluate a copy of the network on random images, in every batch size of the run.

    Of each batch that is trained on, a rank has its part.

    The network, its buffers, its optimizer and the random state are unchanged. Warmed up are the
    process and the device: threads, allocator, choice of convolution algorithms.

    Returns the peak bytes of memory meanwhile, without the weights of the copy: those that training
    takes, stores aside.
    """
    options, device = run.train, data.train.labels.device
    reset_peak_memory(device)
    weights = weight_bytes(network)
    # Copied together, so that the copied optimizer refers to the copied network's parameters.
    network, optimizer = copy.deepcopy((network, optimizer))
    gradients = Gradients(list(network.parameters()), ranks)
    evaluated = lengths(evaluation_batch_size(run, device), (data.validation, data.test))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for length in lengths(options.batch_size, [data.train]):
            part = ranks.part(length)
            images, labels = random_batch(data.train, part.stop - part.start)
            for _ in range(STEPS):
                network.train()
                with autocast(device, options.precision):
                    smoothing = options.label_smoothing
                    loss = cross_entropy(network(images), labels, label_smoothing=smoothing)
                update(optimizer, loss, gradients, options.clip_grad_norm)
            if run.train.fuse_batchnorm:
                # Behind a frozen unit the input has no gradient, for which it is compiled anew.
                with autocast(device, run.train.precision):
                    inputs = map_values(torch.detach, network[0](images))
                    loss = cross_entropy(network[1:](inputs), labels)
                loss.backward()
        for length in evaluated:
            images, labels = random_batch(data.train, length)
            for _ in range(STEPS):
                with torch.no_grad(), autocast(device, run.train.precision):
                    cross_entropy(network.eval()(images), labels)
    return peak_memory(device) - weights


def weight_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(each.nbytes for each in (*network.parameters(), *network.buffers()))


def lengths(batch_size: int, splits: Iterable[Split]) -> list[int]:
    """The different lengths of the splits' batches, the longest first."""
    found = {min(batch_size, len(split)) for split in splits}
    found |= {len(split) % batch_size for split in splits}
    return sorted(found - {0}, reverse=True)


def random_batch(split: Split, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = split.batch(split.labels.new_zeros(length))
    return torch.randn_like(images), labels


def evaluation_batch_size(run: Run, device: torch.device) -> int:
    size, (height, width, _) = run.train.batch_size, run.data_used.image_shape
    return max(size, EVALUATION_PIXELS // (height * width)) if device.type == "cuda" else size
