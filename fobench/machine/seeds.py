"""Random numbers that derive from (seed, epoch, purpose) alone.

So two methods of one seed see the same initial weights, the same order of images, the same
augmentation and the same dropout, whatever else drew random numbers before.
"""

import hashlib

import torch


def derive(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch."""
    digest = hashlib.sha256(f"{seed} {epoch} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A generator on the CPU, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive(seed, epoch, purpose))


def seed_globally(seed: int, epoch: int, purpose: str) -> None:
    """Seed torch's global generators, those of the devices too."""
    torch.manual_seed(derive(seed, epoch, purpose))
