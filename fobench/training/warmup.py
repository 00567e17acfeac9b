"""Warm-up steps before timing starts, so that no run is charged for one-off costs."""

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from fobench.data.split import Split

STEPS = 3


def warm_up(network: nn.Sequential, optimizer: Optimizer, split: Split, batch_size: int) -> None:
    """Train a copy of the network on random images, in every batch size of the run.

    The network, its buffers, its optimizer and the random state are unchanged. Warmed up are the
    process and the device: threads, allocator, choice of convolution algorithms.
    """
    # Copied together, so that the copied optimizer refers to the copied network's parameters.
    network, optimizer = copy.deepcopy((network, optimizer))
    device = split.labels.device
    sizes = {min(batch_size, len(split)), len(split) % batch_size} - {0}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for size in sorted(sizes, reverse=True):
            images, labels = split.batch(torch.zeros(size, dtype=torch.int64, device=device))
            images = torch.randn_like(images)
            for _ in range(STEPS):
                network.train()
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(network(images), labels).backward()
                optimizer.step()
                with torch.no_grad():
                    network.eval()(images)
