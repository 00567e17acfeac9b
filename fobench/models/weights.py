"""Initial weights from a file."""

import logging
import warnings
from collections.abc import Container
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from fobench.errors import UserError

log = logging.getLogger(__name__)

# Under which training programs save a network's state among others.
INSIDE = ("state_dict", "model_state_dict", "model", "network")
# What DistributedDataParallel and torch.compile put before all names, the outer one first.
WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")
SHOWN = 5
told: set[str] = set()


def load_weights(network: nn.Module, path: Path) -> None:
    """Give the network the file's weights, where names and shapes fit; the others stay.

    Logs by name what did not fit. Raises UserError if the file cannot be read, or nothing fits.
    """
    own = network.state_dict()
    given = read_weights(path, own)
    fitting = {key: each for key, each in given.items() if fits(each, own.get(key))}
    if not fitting:
        raise UserError(
            f"{path} has no tensor of a name and shape as in {type(network).__name__}: it begins "
            f"with {', '.join(list(given)[:3])}, the network with {', '.join(list(own)[:3])}"
        )
    with torch.no_grad():
        for key, tensor in fitting.items():
            own[key].copy_(tensor)
    others = [key for key in own if key not in fitting]
    text = f"{path}: {len(fitting)} of the network's {len(own)} tensors are from the file"
    if others:
        text += f"; not {', '.join(others[:SHOWN])}{' …' if len(others) > SHOWN else ''}"
    unused = [key for key in given if key not in fitting]
    if unused:
        text += f"; in the file alone, or of another shape: {', '.join(unused[:SHOWN])}"
        text += " …" if len(unused) > SHOWN else ""
    if text not in told:
        told.add(text)
        log.info("%s", text)


def fits(given: Any, own: Any) -> bool:
    """Whether both are tensors, of one shape; a state can hold other things, too."""
    both = isinstance(given, torch.Tensor) and isinstance(own, torch.Tensor)
    return both and given.shape == own.shape


def read_weights(path: Path, own: Container[str]) -> dict[str, torch.Tensor]:
    """The tensors of a file, by the names that the network's `own` have. Raises UserError."""
    try:
        if path.suffix == ".safetensors":
            try:
                from safetensors.torch import load_file
            except ImportError as error:
                raise UserError(
                    f"{path}: safetensors is not installed: pip install safetensors"
                ) from error
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except (OSError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, UnpicklingError):  # torch tells how to run what the file says
            reason = "it was not saved by torch.save, or holds more than tensors and numbers"
        raise UserError(
            f"{path} holds no weights that can be read ({reason}): save them with "
            "torch.save(network.state_dict(), …)"
        ) from error
    except Exception as error:  # safetensors has an error class of its own
        raise UserError(f"{path} cannot be read ({error})") from error
    while isinstance(content, dict) and (
        inside := next((key for key in INSIDE if isinstance(content.get(key), dict)), None)
    ):
        content = content[inside]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path} holds no weights by name: save network.state_dict()")
    weights = {str(key): each for key, each in content.items()}
    for prefix in WRAPPERS:
        if all(key.startswith(prefix) and key not in own for key in weights):
            weights = {key.removeprefix(prefix): each for key, each in weights.items()}
    return weights
