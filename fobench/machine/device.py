"""The device: selection, and what all work on it depends on.

A run's settings say in which precision it computes, whether it repeats bit for bit, and how its
training steps are carried out.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch

from fobench.errors import UserError


class Settings(Protocol):
    """The settings of a run that concern the device."""

    @property
    def precision(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def deterministic(self) -> bool: ...


def select(name: str) -> torch.device:
    """The device of that name; "auto" selects the GPU if there is one.

    Raises UserError if there is no GPU.
    """
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise UserError("--device cuda: torch finds no CUDA device here; give --device cpu or auto")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def require_supported(device: torch.device, settings: Settings) -> None:
    """Raises UserError with all settings that the device cannot follow."""
    if device.type == "cuda":
        return
    problems = []
    if settings.precision == "tf32":
        problems.append(
            f'[train] precision = "tf32" is for CUDA devices, not for the {device.type}: give '
            '"float32" or "bfloat16"'
        )
    if settings.step == "graph":
        problems.append(
            f'[train] step = "graph" captures CUDA graphs, which the {device.type} does not have: '
            'give "auto" or "eager"'
        )
    if problems:
        raise UserError(problems)


def prepare(device: torch.device, settings: Settings) -> None:
    """Set what all work on the device depends on; call it before any work of a run."""
    set_determinism(settings.deterministic)
    if device.type == "cuda":
        set_tf32(settings.precision == "tf32")
        leave_default_stream(device)


def set_determinism(deterministic: bool) -> None:
    """Make a CUDA run repeat bit for bit, at the cost of speed; a CPU run always does."""
    torch.use_deterministic_algorithms(deterministic)
    # No result depends on memory that was never written, so filling it would only take time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not deterministic


def set_tf32(allowed: bool) -> None:
    """Whether float32 convolutions and matrix products on CUDA may round their inputs to TF32.

    Torch's defaults are yes for convolutions and no for matrix products.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def leave_default_stream(device: torch.device) -> None:
    """Make another stream the current one for all further work: the default cannot be captured."""
    default = torch.cuda.default_stream(device)
    if torch.cuda.current_stream(device) == default:
        stream = torch.cuda.Stream(device)
        stream.wait_stream(default)
        torch.cuda.set_stream(stream)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of forward passes in that precision; weights and their updates stay float32."""
    if precision != "bfloat16":
        return nullcontext()
    # Each weight is used once a step. A cached copy would also outlive the capture of a step.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def step_mode(device: torch.device, settings: Settings) -> str:
    """How training steps are carried out: "eager" or "graph"."""
    if settings.step != "auto":
        return settings.step
    return "graph" if device.type == "cuda" else "eager"


def copied_to(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the device; does not wait for it."""
    if device.type == "cuda":
        # From other memory the copy would be finished before this returns.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def synchronize(device: torch.device) -> None:
    """Wait until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def is_lost(device: torch.device) -> bool:
    """Whether a CUDA device does not work any more in this process.

    So it is after an illegal memory access or a failed assertion on the device.
    """
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False
