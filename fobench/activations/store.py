"""Stored activations: one row per image, in the chosen type, channels last.

A store is written in the order of the images and read in any order.
"""

from functools import cache

import torch

from fobench.activations.places import PLACES

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class Store:
    """Rows of `count` images, each shaped like those of `like` [B, …], in `dtype`, in `place`.

    Raises NoRoomError if it does not fit.
    """

    def __init__(
        self, count: int, like: torch.Tensor, dtype: torch.dtype, place: str, device: torch.device
    ) -> None:
        self.device = device
        shape = (count, *rows_of(like).shape[1:])
        self.rows = PLACES[place].allocate(shape, dtype, device)
        self.bytes = self.rows.numel() * self.rows.element_size()

    def write(self, start: int, values: torch.Tensor) -> None:
        """Store the values [B, …] of the images from `start` on, rounded to the store's type."""
        self.rows[start : start + len(values)].copy_(rows_of(values))

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        """The values of the images `indices` [B], on the CPU, as float32 on the device.

        Does not wait for a CUDA device: rows elsewhere are gathered into pinned memory and copied
        on a separate stream.
        """
        if self.rows.device == self.device:
            rows = self.rows[indices.to(self.device, non_blocking=True)]
        else:
            rows = self._gather_async(indices)
        return values_of(rows.float())

    def _gather_async(self, indices: torch.Tensor) -> torch.Tensor:
        shape = (len(indices), *self.rows.shape[1:])
        gathered = torch.empty(shape, dtype=self.rows.dtype, pin_memory=True)
        torch.index_select(self.rows, 0, indices, out=gathered)
        stream, now = copy_stream(self.device), torch.cuda.current_stream(self.device)
        with torch.cuda.stream(stream):
            rows = gathered.to(self.device, non_blocking=True)
        now.wait_stream(stream)
        rows.record_stream(now)
        return rows


def rows_of(values: torch.Tensor) -> torch.Tensor:
    """Images [B, C, H, W] as rows [B, H, W, C]; other shapes unchanged."""
    return values.permute(0, 2, 3, 1) if values.dim() == 4 else values


def values_of(rows: torch.Tensor) -> torch.Tensor:
    """Rows as the units read them: [B, C, H, W], channels last in memory."""
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows


@cache
def copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
