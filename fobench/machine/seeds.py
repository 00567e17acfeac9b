"""Random numbers that depend only on (seed, epoch, purpose).

All methods of a seed therefore get the same initial weights, order of images, augmentation and
dropout, no matter what else has drawn random numbers.
"""

import hashlib
import random

import numpy as np
import torch


def derive(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch."""
    digest = hashlib.sha256(f"{seed} {epoch} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A generator on the CPU, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive(seed, epoch, purpose))


def seed_globally(seed: int, epoch: int, purpose: str) -> None:
    """Seed the global generators of torch, on all devices, and of Python and numpy.

    fobench draws from torch's alone; a user's network may draw from the others.
    """
    derived = derive(seed, epoch, purpose)
    torch.manual_seed(derived)
    random.seed(derived)
    np.random.seed(derived % 2**32)  # it takes no more bits
