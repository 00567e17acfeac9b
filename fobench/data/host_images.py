"""Images that are not on the device: batches are gathered ahead of use, and copied to it.

The order of an epoch is known at its start, so threads gather the next batches while the device
works on the current one. On CUDA they fill pinned memory, from which copies run beside the work.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch

from fobench.data.images import FileImages, Images, gather

AHEAD = 4  # batches gathered in advance
# Batches copied to a CUDA device that it has not used yet: each takes memory there.
MOST_QUEUED = 16
# Threads that gather. On the CPU more would take the processors that train.
THREADS = {"cpu": 1, "cuda": 4}


class HostImages:
    """Images uint8 [N, H, W, C] in the host's memory or in a file, read for a device."""

    def __init__(self, images: Images, device: torch.device) -> None:
        if isinstance(images, np.ndarray):
            images = np.ascontiguousarray(images)
        self.device = device
        self._images = images
        self._readers: list[ReadAhead] = []
        self._reads: deque[torch.cuda.Event] = deque()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, part: slice) -> "HostImages":
        return HostImages(self._images[part], self.device)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._images.shape

    @property
    def place(self) -> str:
        """Where the images are read from."""
        return place_on_host(self._images)

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        """The images `indices` [B], which are on the host, on the device.

        Waits for a CUDA device only if it is MOST_QUEUED reads behind. Those that `ahead` announced
        next are gathered already, also where their first one is repeated at the end.
        """
        for reader in reversed(self._readers):
            if reader.is_next(indices):
                return padded(self._copied(reader.take()), len(indices))
        rows = self.allocate(indices)
        self.fill(indices, rows)
        return self._copied(rows)

    @contextmanager
    def ahead(self, batches: Iterable[torch.Tensor]) -> Iterator[None]:
        """Gather these batches ahead of use in the block, from the first `read` of them on."""
        reader = ReadAhead(self, batches)
        self._readers.append(reader)
        try:
            yield
        finally:
            self._readers.remove(reader)
            reader.close()

    def allocate(self, indices: torch.Tensor) -> torch.Tensor:
        """Memory for these images, pinned for CUDA."""
        pinned = self.device.type == "cuda"
        return torch.empty((len(indices), *self.shape[1:]), dtype=torch.uint8, pin_memory=pinned)

    def fill(self, indices: torch.Tensor, rows: torch.Tensor) -> None:
        """Read these images into `rows`, from any thread."""
        gather(self._images, indices.numpy(), rows.numpy())

    def _copied(self, rows: torch.Tensor) -> torch.Tensor:
        if self.device.type != "cuda":
            return rows
        now, copying = torch.cuda.current_stream(self.device), copy_stream(self.device)
        self._reads.append(now.record_event())
        if len(self._reads) > MOST_QUEUED:
            self._reads.popleft().synchronize()
        with torch.cuda.stream(copying):
            # Torch reuses the pinned memory once this copy is done.
            copied = rows.to(self.device, non_blocking=True)
        now.wait_stream(copying)
        copied.record_stream(now)
        return copied


class ReadAhead:
    """Batches of images, gathered by threads in the order in which they are taken.

    No thread starts before the first batch is taken: stored activations need no images. Threads
    call nothing of CUDA, which would spoil the capture of a graph.
    """

    def __init__(self, images: HostImages, batches: Iterable[torch.Tensor]) -> None:
        self._images, self._waiting = images, deque(batches)
        self._coming: deque[Future[torch.Tensor]] = deque()
        self._expected: deque[torch.Tensor] = deque(self._waiting)
        self._threads: ThreadPoolExecutor | None = None

    def is_next(self, indices: torch.Tensor) -> bool:
        """Whether this is the next batch, or that one as `Indices.padded` makes it."""
        if not self._expected:
            return False
        expected = self._expected[0]
        batch, padding = indices[: len(expected)], indices[len(expected) :]
        return torch.equal(expected, batch) and bool((padding == indices[0]).all())

    def take(self) -> torch.Tensor:
        """The next batch. Raises what gathering it raised."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS[self._images.device.type])
        while self._waiting and len(self._coming) <= AHEAD:
            indices = self._waiting.popleft()
            rows = self._images.allocate(indices)
            self._coming.append(self._threads.submit(self._gathered, indices, rows))
        self._expected.popleft()
        return self._coming.popleft().result()

    def close(self) -> None:
        """Stop the threads; waits for batches that are being gathered."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _gathered(self, indices: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        self._images.fill(indices, rows)
        return rows


def place_on_host(images: Images) -> str:
    return "file" if isinstance(images, FileImages) else "host memory"


def padded(rows: torch.Tensor, size: int) -> torch.Tensor:
    """At least `size` images: the first is repeated at the end."""
    missing = size - len(rows)
    if missing <= 0:
        return rows
    return torch.cat([rows, rows[:1].expand(missing, *rows.shape[1:])])


@cache
def copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
