"""What goes from unit to unit: a tensor, or a tuple of tensors, each with the batch first."""

from collections.abc import Callable

import torch

Values = torch.Tensor | tuple[torch.Tensor, ...]


def tensors_of(values: Values) -> tuple[torch.Tensor, ...]:
    """The tensors of a tuple; a tensor as a tuple of one."""
    return values if isinstance(values, tuple) else (values,)


def map_values(function: Callable[[torch.Tensor], torch.Tensor], values: Values) -> Values:
    """The function of each tensor: a tuple of a tuple, a tensor of a tensor."""
    return tuple(map(function, values)) if isinstance(values, tuple) else function(values)


def images_in(values: Values) -> int:
    """The number of images of which they are the values."""
    return len(tensors_of(values)[0])


def numel(values: Values) -> int:
    """The number of elements of all tensors."""
    return sum(each.numel() for each in tensors_of(values))


def first_of(values: Values, count: int) -> Values:
    """The values of the first `count` images."""
    return map_values(lambda each: each[:count], values)
