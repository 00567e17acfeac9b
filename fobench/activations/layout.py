"""How values lie in memory, so that stored ones are read as the units would compute them.

Some kernels sum in the order of the memory: in another order, the next unit could compute other
bits.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layout:
    """The shape of values [B, …], and the order in which they lie in memory.

    Attributes:
        batch: B of the values that it was taken from.
        sizes: of the dimensions behind the batch.
        strides: of all dimensions. Values with gaps have those that torch gives to a copy.
        order: the dimensions behind the batch, by descending stride.
    """

    batch: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, values: torch.Tensor) -> "Layout":
        batch, *sizes = values.shape
        strides = torch.empty_like(values, device="meta").stride()
        order = sorted(range(1, values.dim()), key=lambda dim: -strides[dim])
        return cls(batch, tuple(sizes), strides, tuple(order))

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The sizes in the order of the memory."""
        return tuple(self.sizes[dim - 1] for dim in self.order)

    def rows_of(self, values: torch.Tensor) -> torch.Tensor:
        """A view of values [B, …] as rows [B, *row_shape]."""
        return values.permute(0, *self.order)

    def values_of(self, rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """The values of contiguous rows [B, *row_shape], in a type, with the strides they had.

        They share memory with the rows if these are of that type.
        """
        count, row = len(rows), math.prod(self.sizes)
        if self.batch == 1 or self.strides[0] == row:
            return rows.to(dtype).as_strided((count, *self.sizes), (row, *self.strides[1:]))
        # The batch lies within other dimensions, as behind torch's attention: [N, B, C] in memory.
        strides = [
            stride * count // self.batch if stride > self.strides[0] else stride
            for stride in self.strides
        ]
        size = (count, *self.sizes)
        values = torch.empty_strided(size, strides, dtype=dtype, device=rows.device)
        self.rows_of(values).copy_(rows)
        return values
