"""Stored activations: one row per image, in the chosen type, channels last.

A store is written in the order of the images and read in any order.
"""

import torch

from fobench.activations.places import PLACES
from fobench.activations.staging import Staging

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class Store:
    """Rows of `count` images, each shaped like those of `like` [B, …], in `dtype`, in `place`.

    Raises NoRoomError if it does not fit.
    """

    def __init__(
        self, count: int, like: torch.Tensor, dtype: torch.dtype, place: str, device: torch.device
    ) -> None:
        shape = (count, *rows_of(like).shape[1:])
        self.rows = PLACES[place].allocate(shape, dtype, device)
        self.bytes = self.rows.numel() * self.rows.element_size()
        self.is_on_device = self.rows.device.type == device.type
        self._values_dtype = like.dtype
        self._staging = None if self.is_on_device else Staging(device)

    def write(self, start: int, values: torch.Tensor) -> None:
        """Store the values [B, …] of the images from `start` on, rounded to the store's type.

        Does not wait for a CUDA device.
        """
        rows, values = self.rows[start : start + len(values)], rows_of(values)
        if self._staging is None:
            rows.copy_(values)
        else:
            # Rounded on the device, so that no more bytes than needed are copied; and not read
            # from `values`, which the caller may overwrite meanwhile.
            typed = torch.empty(rows.shape, dtype=rows.dtype, device=values.device).copy_(values)
            self._staging.to_host(typed, rows)

    def finish(self) -> None:
        """Call it after the last `write`, before the first `read`."""
        if self._staging is not None:
            self._staging.finish()

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        """The values of the images `indices` [B], in the type in which they were written.

        `indices` are on the device if the store is, else on the host. Does not wait for a CUDA
        device.
        """
        if self._staging is None:
            rows = self.rows[indices]
        else:
            rows = self._staging.to_device(self.rows, indices)
        return values_of(rows.to(self._values_dtype))


def rows_of(values: torch.Tensor) -> torch.Tensor:
    """Images [B, C, H, W] as rows [B, H, W, C]; other shapes unchanged."""
    return values.permute(0, 2, 3, 1) if values.dim() == 4 else values


def values_of(rows: torch.Tensor) -> torch.Tensor:
    """Rows as the units read them: [B, C, H, W], channels last in memory."""
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows
