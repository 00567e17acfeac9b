"""The device: selection, determinism, synchronization."""

import os

import torch

from fobench.errors import UserError


def select(name: str) -> torch.device:
    """The device of that name; "auto" selects the GPU if there is one.

    Raises UserError if there is no GPU.
    """
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise UserError("--device cuda: torch finds no CUDA device here; give --device cpu or auto")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def set_determinism(deterministic: bool) -> None:
    """Make a CUDA run repeat bit for bit, at the cost of speed; a CPU run always does."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def pinned(indices: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The indices, pinned for asynchronous copies to a CUDA device."""
    return indices.pin_memory() if device.type == "cuda" else indices


def synchronize(device: torch.device) -> None:
    """Wait until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
