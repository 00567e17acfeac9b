"""Stored activations: one row per image and tensor, in the chosen type, as they lie in memory.

A store is written in the order of the images and read in any order.
"""

import math

import torch

from fobench.activations.layout import Layout
from fobench.activations.places import PLACES, NoRoomError
from fobench.activations.staging import Staging
from fobench.machine.values import Values, tensors_of

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
# Elements. CUDA gathers rows faster if they start at a multiple of 16 bytes.
ALIGNMENT = 64


class Store:
    """Values of `count` images, each shaped like those of `like` [B, …], in `dtype`, in `place`.

    The tensors of a tuple lie in one piece of memory. Of one that is a view of another, each is
    stored.

    Raises NoRoomError if they do not fit together.
    """

    def __init__(
        self, count: int, like: Values, dtype: torch.dtype, place: str, device: torch.device
    ) -> None:
        layouts = [Layout.of(each) for each in tensors_of(like)]
        sizes = [count * math.prod(layout.sizes) for layout in layouts]
        starts = starts_of(sizes)
        memory = PLACES[place].allocate((starts[-1] + sizes[-1],), dtype, device)
        self.place = place
        self.bytes = sum(sizes) * dtype.itemsize
        self.device = memory.device
        self.is_on_device = memory.device.type == device.type
        self._is_tuple = isinstance(like, tuple)
        self._tensors = [
            StoredTensor(
                memory[start : start + size].view(count, *layout.row_shape),
                layout,
                each.dtype,
                None if self.is_on_device else Staging(device),
            )
            for start, size, layout, each in zip(
                starts, sizes, layouts, tensors_of(like), strict=True
            )
        ]

    def write(self, start: int, values: Values) -> None:
        """Store the values [B, …] of the images from `start` on, rounded to the store's type.

        Does not wait for a CUDA device.
        """
        for stored, each in zip(self._tensors, tensors_of(values), strict=True):
            stored.write(start, each)

    def finish(self) -> None:
        """Call it after the last `write`, before the first `read`."""
        for stored in self._tensors:
            stored.finish()

    def read(self, indices: torch.Tensor) -> Values:
        """The values of the images `indices` [B], in the types in which they were written.

        They are copies, whose memory is ordered as that of what was written. `indices` are on the
        device if the store is, else on the host. Does not wait for a CUDA device.
        """
        values = tuple(stored.read(indices) for stored in self._tensors)
        return values if self._is_tuple else values[0]


def store_with_room(
    count: int, like: Values, dtype: torch.dtype, place: str, device: torch.device
) -> Store:
    """A store in a place, or in a slower one if that has no room. Raises NoRoomError."""
    names = list(PLACES)
    for name in names[names.index(place) :]:
        try:
            return Store(count, like, dtype, name, device)
        except NoRoomError as error:
            # Keep only the text: the error would keep this frame, and the old store, alive.
            refused = str(error)
    raise NoRoomError(refused)


class StoredTensor:
    """The rows [N, …] of one tensor."""

    def __init__(
        self, rows: torch.Tensor, layout: Layout, dtype: torch.dtype, staging: Staging | None
    ) -> None:
        """`dtype` is that of what is read. With `staging` the rows are not on the device."""
        self.rows = rows
        self._layout, self._dtype, self._staging = layout, dtype, staging

    def write(self, start: int, values: torch.Tensor) -> None:
        rows, values = self.rows[start : start + len(values)], self._layout.rows_of(values)
        if self._staging is None:
            rows.copy_(values)
        else:
            # Rounded on the device, so that no more bytes than needed are copied; and not read
            # from `values`, which the caller may overwrite meanwhile.
            typed = torch.empty(rows.shape, dtype=rows.dtype, device=values.device).copy_(values)
            self._staging.to_host(typed, rows)

    def finish(self) -> None:
        if self._staging is not None:
            self._staging.finish()

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        if self._staging is None:
            rows = self.rows[indices]
        else:
            rows = self._staging.to_device(self.rows, indices)
        return self._layout.values_of(rows, self._dtype)


def starts_of(sizes: list[int]) -> list[int]:
    """Where parts of these sizes start, if each does at a multiple of ALIGNMENT."""
    starts = [0]
    for size in sizes[:-1]:
        starts.append(-(-(starts[-1] + size) // ALIGNMENT) * ALIGNMENT)
    return starts
