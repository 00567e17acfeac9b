"""Mean and standard deviation of pixels; of images in a file, kept beside it."""

import hashlib
import json
import logging
from contextlib import suppress

import numpy as np
import torch

from fobench.data.archive import format_size
from fobench.data.images import FileImages, Images, chunks
from fobench.errors import UserError
from fobench.records.files import write_json

log = logging.getLogger(__name__)

Statistics = tuple[torch.Tensor, torch.Tensor]


def pixel_statistics(images: Images) -> Statistics:
    """Mean and standard deviation [C] of uint8 images [N, H, W, C], from exact histograms."""
    return kept_statistics(images) if isinstance(images, FileImages) else measured(images)


def kept_statistics(images: FileImages) -> Statistics:
    """Those of images in a file, all of which must be read for them: found out once."""
    beside = images.path.with_name(f".{images.path.name}.statistics")
    identity, parts = list(images.file.identity), {}
    numbers = np.ascontiguousarray(images.numbers, "<i8")
    part = f"{images.offset}-{hashlib.sha256(numbers).hexdigest()[:16]}"
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(beside.read_bytes())
        if kept["identity"] == identity:
            parts = dict(kept["parts"])
            mean, std = (torch.tensor(each, dtype=torch.float32) for each in parts[part])
            if mean.shape == std.shape == images.shape[-1:]:
                return mean, std
    size = format_size(len(images) * images.image_bytes)
    log.info("%s: reading %s of images once, for the mean of their pixels", images.path, size)
    mean, std = measured(images)
    parts[part] = [mean.tolist(), std.tolist()]
    # In a folder that cannot be written they are found out again each time.
    with suppress(UserError):
        write_json(beside, {"identity": identity, "parts": parts})
    return mean, std


def measured(images: Images) -> Statistics:
    """`pixel_statistics`, each time from the pixels."""
    values = torch.arange(256, dtype=torch.float64)
    histograms = torch.zeros(images.shape[-1], 256, dtype=torch.int64)
    for piece in chunks(images):
        channels = torch.from_numpy(piece).unbind(-1)
        histograms += torch.stack(
            [torch.bincount(each.flatten(), minlength=256) for each in channels]
        )
    counts = histograms.double()
    shares = counts / counts.sum(dim=1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(dim=1)
    # A constant channel must not be divided by 0.
    return mean.float(), variance.sqrt().clamp_min(1.0).float()
