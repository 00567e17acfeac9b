"""A data set as uint8 tensors, augmented and normalised on the device, batch by batch.

The images are on the device if they fit there; else they stay in the host's memory or in their
file, and batches are copied ahead of use. Their pixels are the same.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from fobench.data.archive import format_size
from fobench.data.dataset import DataSet
from fobench.data.host_images import HostImages, place_on_host
from fobench.data.images import FileImages, Images, chunks
from fobench.data.order import Indices
from fobench.data.parts import parts_of
from fobench.data.statistics import pixel_statistics
from fobench.experiment.run import DataUsed
from fobench.machine.device import copied_to
from fobench.machine.memory import available_memory, reset_peak_memory
from fobench.machine.seeds import generator

log = logging.getLogger(__name__)

# Of the device's free memory; the rest is for training.
SHARE_FOR_IMAGES = 0.5
MEMORY_OF_GPU = "the GPU's memory"


@dataclass(frozen=True)
class View:
    """One fixed augmentation of every image of a split: int64 offsets [N], bool flips [N]."""

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor


@dataclass(frozen=True)
class Split:
    """Images and labels [N], for a device.

    Images on the device are uint8 [N, H + 2·padding, W + 2·padding, C]; others are not padded, and
    come to the device batch by batch. The rest is on the device. `mean` and `std` [C] are those of
    the training pixels.
    """

    images: torch.Tensor | HostImages
    labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    padding: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def place(self) -> str:
        """Where the images lie, as in `place_of_images`."""
        return self.images.place if isinstance(self.images, HostImages) else "device"

    @contextmanager
    def ahead(self, batches: Iterable[Indices]) -> Iterator[None]:
        """In the block, images that are not on the device are read before they are needed.

        `batches` are those of which `images_at` is going to be asked, in this order; it can be
        asked for others in between.
        """
        if isinstance(self.images, HostImages):
            with self.images.ahead([each.host for each in batches]):
                yield
        else:
            yield

    def batch(
        self, indices: Indices | torch.Tensor, view: View | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images float [B, C, H, W], channels last, and labels [B].

        A tensor of indices [B] can be on the CPU or on the device. Without a view the images are
        neither cropped nor flipped.
        """
        return self.images_at(indices, view), self.labels_at(indices)

    def in_order(
        self, size: int, which: slice = slice(None)
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All images and labels without a view, in batches of that size; read ahead like others.

        `which` chooses some of the batches.
        """
        batches = list(Indices.of(torch.arange(len(self)), self.labels.device).batches(size))[which]
        with self.ahead(batches):
            yield from map(self.batch, batches)

    def images_at(self, indices: Indices | torch.Tensor, view: View | None = None) -> torch.Tensor:
        """The images of a `batch`."""
        places = self._to_device(indices)
        if isinstance(self.images, HostImages):
            host = indices.host if isinstance(indices, Indices) else indices.cpu()
            pixels = self.images.read(host)
            if view is not None:
                around = pad(pixels, (0, 0, *[self.padding] * 4))
                rows = torch.arange(len(places), device=places.device)
                pixels = cropped(around, rows, self.padding, view, places)
        elif self.padding:
            pixels = cropped(self.images, places, self.padding, view, places)
        else:
            pixels = self.images[places]
        return ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)

    def labels_at(self, indices: Indices | torch.Tensor) -> torch.Tensor:
        """The labels of a `batch`."""
        return self.labels[self._to_device(indices)]

    def _to_device(self, indices: Indices | torch.Tensor) -> torch.Tensor:
        if isinstance(indices, Indices):
            return indices.device
        return indices.to(self.labels.device, non_blocking=True)

    def draw_view(self, seed: int, number: int, purpose: str = "augmentation") -> View | None:
        """The view of that number; None if the images are not augmented."""
        if not self.padding:
            return None
        random = generator(seed, number, purpose)
        offsets = torch.randint(0, 2 * self.padding + 1, (2, len(self)), generator=random)
        flip = torch.randint(0, 2, (len(self),), generator=random, dtype=torch.bool)
        device = self.labels.device
        top, left = copied_to(device, offsets)
        return View(top, left, copied_to(device, flip))


def cropped(
    images: torch.Tensor, rows: torch.Tensor, padding: int, view: View | None, places: torch.Tensor
) -> torch.Tensor:
    """The images `rows` [B] without their padding, as the view shifts and flips them.

    `places` [B] are their places in the view.
    """
    height, width = (size - 2 * padding for size in images.shape[1:3])
    down = torch.arange(height, device=rows.device)
    across = torch.arange(width, device=rows.device).expand(len(rows), -1)
    if view is None:
        top = left = torch.full_like(rows, padding)
    else:
        top, left = view.top[places], view.left[places]
        across = torch.where(view.flip[places, None], across.flip(1), across)
    down, across = down + top[:, None], across + left[:, None]
    return images[rows[:, None, None], down[:, :, None], across[:, None, :]]


@dataclass(frozen=True)
class Data:
    """The images of a run: training, validation (held out of the training set) and test."""

    train: Split
    validation: Split
    test: Split

    @property
    def place(self) -> str:
        """Where the images for training lie, as in `place_of_images`."""
        return self.train.place


def load(
    dataset: DataSet,
    used: DataUsed,
    augment: str,
    device: torch.device,
    place: str | None = None,
) -> Data:
    """The images that a run uses, cut from the set as `parts_of` says, for the device.

    They are where `place_of_images` says now, or where it said: on the device if `place` is
    "device", else where they are.
    """
    cuts = cuts_of(dataset, used, augment)
    mean, std = (each.to(device) for each in pixel_statistics(cuts["train"][0]))
    size = bytes_on_device(cuts)
    place = place or place_of_images(dataset, used, augment, device)
    log.info("%s", where_images_are(dataset.train_images, size, place, device))

    def split(images: Images, labels: np.ndarray, padding: int) -> Split:
        on_device = place == "device"
        there = padded_on(device, images, padding) if on_device else HostImages(images, device)
        return Split(there, torch.from_numpy(labels).to(device), mean, std, padding)

    return Data(**{name: split(*cut) for name, cut in cuts.items()})


def place_of_images(
    dataset: DataSet, used: DataUsed, augment: str, device: torch.device, copies: int = 1
) -> str:
    """Where images are best now: "device", "host memory" or "file".

    On the device, if as many copies take less than half of its free memory. The place decides how
    fast they are read, but not what is learned from them.
    """
    size = copies * bytes_on_device(cuts_of(dataset, used, augment))
    return "device" if fits(size, device) else place_on_host(dataset.train_images)


Cut = tuple[Images, np.ndarray, int]  # images, labels, padding


def cuts_of(dataset: DataSet, used: DataUsed, augment: str) -> dict[str, Cut]:
    """The parts of a set that a run uses."""
    parts = parts_of(dataset, used)
    train, test = dataset.train_images, dataset.test_images
    padding = used.padding if augment == "random" else 0
    return {
        "train": (train[parts.train], dataset.train_labels[parts.train], padding),
        "validation": (train[parts.validation], dataset.train_labels[parts.validation], 0),
        "test": (test[parts.test], dataset.test_labels[parts.test], 0),
    }


def bytes_on_device(cuts: dict[str, Cut]) -> int:
    return sum(padded_bytes(images, padding) for images, _, padding in cuts.values())


def fits(size: int, device: torch.device) -> bool:
    """Whether images of that size leave enough of the device's free memory for training."""
    # The peak of earlier runs of this process says nothing about the next.
    reset_peak_memory(device)
    return size <= SHARE_FOR_IMAGES * available_memory(device)[0]


def where_images_are(images: Images, size: int, place: str, device: torch.device) -> str:
    """Where the images are and how much memory they take, for the log. `size` is in bytes."""
    if place == "device":
        memory = "memory" if device.type == "cpu" else MEMORY_OF_GPU
        return f"images: {format_size(size)} in {memory}"
    source = f"in {images.path}" if isinstance(images, FileImages) else "in the host's memory"
    return (
        f"images: {format_size(size)} are too many for "
        f"{'the memory' if device.type == 'cpu' else MEMORY_OF_GPU}: they stay {source}, and "
        "batches are read ahead of use"
    )


def padded_bytes(images: Images, padding: int) -> int:
    count, height, width, channels = images.shape
    return count * (height + 2 * padding) * (width + 2 * padding) * channels


def padded_on(device: torch.device, images: Images, padding: int) -> torch.Tensor:
    """The images on the device, with black pixels around each, copied piece by piece."""
    count, height, width, channels = images.shape
    shape = (count, height + 2 * padding, width + 2 * padding, channels)
    padded, start = torch.zeros(shape, dtype=torch.uint8, device=device), 0
    inside = (slice(padding, padding + height), slice(padding, padding + width))
    for piece in chunks(images):
        padded[start : start + len(piece), *inside] = torch.from_numpy(piece).to(device)
        start += len(piece)
    return padded
