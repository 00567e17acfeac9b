"""The device that trains: which it is, whether it repeats exactly, when it is done."""

import os

import torch

from fobench.errors import UserError


def select(name: str) -> torch.device:
    """The device of that name; "auto" takes the GPU where there is one.

    Raises UserError for a GPU that is not there.
    """
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise UserError("--device cuda: torch finds no CUDA device here; give --device cpu or auto")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def set_determinism(deterministic: bool) -> None:
    """Whether a CUDA run shall repeat bit for bit, at the price of speed; a CPU run always does."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def pinned(indices: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Indices on the CPU, from where the device takes them without waiting."""
    return indices.pin_memory() if device.type == "cuda" else indices


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
