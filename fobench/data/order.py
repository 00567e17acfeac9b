"""The order of an epoch's images, on the host and on the device."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from fobench.machine.device import copied_to


@dataclass(frozen=True)
class Indices:
    """Indices [B] of images; `host` and `device` hold the same, on the CPU in the same memory."""

    host: torch.Tensor
    device: torch.Tensor

    @classmethod
    def of(cls, indices: torch.Tensor, device: torch.device) -> "Indices":
        """Copies the indices to the device, in one piece, without waiting for it."""
        return cls(indices, copied_to(device, indices))

    def __len__(self) -> int:
        return len(self.host)

    def batches(self, size: int) -> Iterator["Indices"]:
        """Pieces of `size` indices; the last can be shorter."""
        for host, device in zip(self.host.split(size), self.device.split(size), strict=True):
            yield Indices(host, device)

    def part(self, part: slice) -> "Indices":
        """Some in a row."""
        return Indices(self.host[part], self.device[part])

    def padded(self, size: int) -> "Indices":
        """At least `size` indices: the first is repeated at the end."""
        missing = size - len(self)
        if missing <= 0:
            return self
        host, device = (
            torch.cat([each, each[:1].expand(missing)]) for each in (self.host, self.device)
        )
        return Indices(host, device)
