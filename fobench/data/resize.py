"""Images resized to a square: the shorter side to the size, then the centre cropped.

Resampling is Pillow's bilinear one, which averages over all pixels that a smaller one stands for
(antialiased). The same bytes as those of torchvision's `Resize` and `CenterCrop` on images of PIL.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
from PIL import Image

from fobench.data.images import Images, chunks
from fobench.machine.processors import usable_cpus

GREY, COLOUR = "L", "RGB"

T = TypeVar("T")


def resized(image: Image.Image, size: int) -> Image.Image:
    """The image as a square of `size` pixels; unchanged if it is one."""
    shorter = min(image.size)
    if shorter != size:
        width, height = (int(size * side / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    width, height = image.size
    if width == height:
        return image
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def resized_array(size: int, pixels: np.ndarray) -> np.ndarray:
    """An image uint8 [H, W, C] as [size, size, C]."""
    grey = pixels.shape[2] == 1
    image = Image.fromarray(pixels[..., 0] if grey else pixels, GREY if grey else COLOUR)
    return np.asarray(resized(image, size)).reshape(size, size, -1)


def resized_pieces(images: Images, size: int) -> Iterator[np.ndarray]:
    """Images uint8 [N, H, W, C] as pieces of images [size, size, C]."""
    return pieces_of(partial(resized_array, size), chunks(images))


def pieces_of(
    work: Callable[[T], np.ndarray], groups: Iterable[Sequence[T]]
) -> Iterator[np.ndarray]:
    """What `work` makes of each group's items, in their order, stacked; on all processors that the
    process may use.

    Pillow lets other threads run while it decodes and resizes.
    """
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for group in groups:
            yield np.stack(list(pool.map(work, group)))
