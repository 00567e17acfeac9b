"""What a network computes in evaluation mode must depend on the image alone.

Otherwise a frozen unit goes on changing, and stored activations are not what it would compute.
"""

from collections.abc import Sequence

import torch
from torch import nn

from fobench.cutting.refusals import (
    CannotCutError,
    FailedError,
    leaving_random_states,
    reason_of,
)
from fobench.cutting.verify import EVALUATION, disturbed, equal, random_images
from fobench.machine.seeds import seed_globally

ROUNDING = 1e-4  # of the largest score: far more than that of float32


def require_function_of_image(
    network: nn.Module, memory_format: torch.memory_format, image_shape: Sequence[int]
) -> None:
    """Raises CannotCutError unless, in evaluation mode, no buffer changes and the scores of an
    image depend neither on random numbers nor on the other images; FailedError if it fails.
    """
    name = type(network).__name__
    with leaving_random_states(), torch.no_grad():
        images, others = (random_images(EVALUATION[1], image_shape, number) for number in (0, 1))
        others = torch.cat([images[:1], 1 + 3 * others[1:]])  # images much unlike those before
        images, others = (each.clone(memory_format=memory_format) for each in (images, others))
        copied = disturbed(network, memory_format, training=False)
        expected = evaluated(copied, images, 0)
        before = {path: buffer.clone() for path, buffer in copied.named_buffers()}
        scores = evaluated(copied, others, 1)
        for path, buffer in copied.named_buffers():
            if path in before and not equal(before[path], buffer):
                raise CannotCutError(
                    f"{name}: its forward pass changes {path} in evaluation mode, too, by images "
                    "of the validation and in frozen units: change it under if self.training"
                )
        if close(expected[:1], scores[:1]):
            return
        if not close(expected, evaluated(copied, images, 1)):
            raise CannotCutError(
                f"{name} draws random numbers in evaluation mode, too, so that a frozen unit "
                "computes other values each time: draw under if self.training, such as with "
                "F.dropout(x, p, self.training)"
            )
    raise CannotCutError(
        f"{name}: what it computes of an image in evaluation mode depends on the other images of "
        "the batch, as with BatchNorm2d(track_running_stats=False) or a mean over the batch, so "
        "that frozen units compute other values each time: use running statistics there, or "
        "GroupNorm"
    )


def evaluated(network: nn.Module, images: torch.Tensor, number: int) -> torch.Tensor:
    """What it returns, from the random state of that number."""
    seed_globally(0, number, "evaluation to compare")
    try:
        return network(images.clone(memory_format=torch.preserve_format))
    except Exception as error:
        raise FailedError(reason_of(error)) from error


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether scores are equal but for rounding, not-a-number included."""
    largest = float(one.abs().nan_to_num().max())
    return torch.allclose(one, other, rtol=0, atol=ROUNDING * largest, equal_nan=True)
