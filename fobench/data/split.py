"""A data set as uint8 tensors on the device, augmented and normalised there, batch by batch."""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from fobench.data.dataset import DataSet
from fobench.data.parts import parts_of
from fobench.experiment.run import DataUsed
from fobench.machine.device import copied_to
from fobench.machine.seeds import generator

PADDING = 4  # black pixels on each side, for the random crop


@dataclass(frozen=True)
class View:
    """One fixed augmentation of every image of a split: int64 offsets [N], bool flips [N]."""

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H + 2·padding, W + 2·padding, C] and labels int64 [N] on the device.

    `mean` and `std` [C] are those of the training pixels.
    """

    images: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    padding: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: torch.Tensor, view: View | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images float [B, C, H, W], channels last, and labels [B].

        `indices` [B] can be on the CPU. Without a view the images are neither cropped nor flipped.
        """
        return self.images_at(indices, view), self.labels_at(indices)

    def images_at(self, indices: torch.Tensor, view: View | None = None) -> torch.Tensor:
        """The images of a `batch`."""
        indices = self._to_device(indices)
        pixels = self._crop(indices, view) if self.padding else self.images[indices]
        return ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)

    def labels_at(self, indices: torch.Tensor) -> torch.Tensor:
        """The labels of a `batch`."""
        return self.labels[self._to_device(indices)]

    def _to_device(self, indices: torch.Tensor) -> torch.Tensor:
        return indices.to(self.labels.device, non_blocking=True)

    def draw_view(self, seed: int, number: int, purpose: str = "augmentation") -> View | None:
        """The view of that number; None if the images are not augmented."""
        if not self.padding:
            return None
        random = generator(seed, number, purpose)
        offsets = torch.randint(0, 2 * self.padding + 1, (2, len(self)), generator=random)
        flip = torch.randint(0, 2, (len(self),), generator=random, dtype=torch.bool)
        device = self.images.device
        top, left = copied_to(device, offsets)
        return View(top, left, copied_to(device, flip))

    def _crop(self, indices: torch.Tensor, view: View | None) -> torch.Tensor:
        height, width = (size - 2 * self.padding for size in self.images.shape[1:3])
        rows = torch.arange(height, device=indices.device)
        columns = torch.arange(width, device=indices.device).expand(len(indices), -1)
        if view is None:
            top = left = torch.full_like(indices, self.padding)
        else:
            top, left = view.top[indices], view.left[indices]
            columns = torch.where(view.flip[indices, None], columns.flip(1), columns)
        rows, columns = rows + top[:, None], columns + left[:, None]
        return self.images[indices[:, None, None], rows[:, :, None], columns[:, None, :]]


@dataclass(frozen=True)
class Data:
    """The images of a run: training, validation (held out of the training set) and test."""

    train: Split
    validation: Split
    test: Split


def load(dataset: DataSet, used: DataUsed, augment: str, device: torch.device) -> Data:
    """Put the images that a run uses on the device, cut from the set as `parts_of` says."""
    train_images = torch.from_numpy(dataset.train_images)
    train_labels = torch.from_numpy(dataset.train_labels)
    parts = parts_of(dataset, used)
    mean, std = pixel_statistics(train_images[parts.train])

    def split(images: torch.Tensor, labels: torch.Tensor, padding: int = 0) -> Split:
        images = pad(images, (0, 0, padding, padding, padding, padding))
        return Split(*(each.to(device) for each in (images, labels, mean, std)), padding)

    return Data(
        train=split(
            train_images[parts.train],
            train_labels[parts.train],
            PADDING if augment == "random" else 0,
        ),
        validation=split(train_images[parts.validation], train_labels[parts.validation]),
        test=split(
            torch.from_numpy(dataset.test_images)[parts.test],
            torch.from_numpy(dataset.test_labels)[parts.test],
        ),
    )


def pixel_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [C] of uint8 images [N, H, W, C], from exact histograms."""
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack(
        [torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(-1)]
    ).double()
    shares = counts / counts.sum(dim=1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(dim=1)
    # A constant channel must not be divided by 0.
    return mean.float(), variance.sqrt().clamp_min(1.0).float()
