"""The data set `synthetic`: generated images, the same everywhere, for when nothing else is there.

Each image carries two kinds of glyph out of five, a few copies of each, at random places in random
colours on noise; which two kinds they are is the class (5 choose 2 = 10). A network must learn the
glyphs as local features and then which of them occur together, so that layers frozen before they
have learned cost accuracy. One image in seven shows one of its two kinds alone, which leaves four
classes to guess from: no network can get below 100 · 1/7 · 3/4 = 10.7 % error. Glyphs are faint in
some images and plain in others, so that the error falls gradually.

All arithmetic is on integers and all random numbers come from numpy's legacy generator, whose
stream is frozen by numpy's own policy: every machine makes the same bytes.
"""

from itertools import combinations

import numpy as np

from fobench.data.dataset import DataSet, assemble
from fobench.errors import UserError

NAME = "synthetic"
TRAIN_SIZE, TEST_SIZE, MOST = 10_000, 2_000, 500_000  # images

IMAGE_SIZE = 32
CHUNK = 500  # images a random stream, so that image i does not depend on how many are made
COPIES = 3  # of each of the two kinds
DISTRACTORS = 1
STRENGTH = (16, 90)  # how far, in pixel values, an image's glyphs stand out
ONE_IN = 7  # images that show one of their two kinds alone

GLYPHS = """
..###.. #.....# ...#... ####### #..#..#
.#...#. .#...#. ..#.#.. ....... #..#..#
#.....# ..#.#.. ..#.#.. ....... #..#..#
#.....# ...#... .#...#. ####### #..#..#
#.....# ..#.#.. .#...#. ....... #..#..#
.#...#. .#...#. #.....# ....... #..#..#
..###.. #.....# ####### ####### #..#..#
"""

SPLITS = {"train": 0, "test": 1}


def glyph_masks() -> np.ndarray:
    """The five glyphs as bool [5, 7, 7]."""
    rows = [line.split() for line in GLYPHS.split("\n") if line]
    return np.array([[[c == "#" for c in part] for part in row] for row in rows]).transpose(1, 0, 2)


MASKS = glyph_masks()
PAIRS = np.array(list(combinations(range(len(MASKS)), 2)))
CLASSES = [f"glyphs {a} and {b}" for a, b in PAIRS]


def open_synthetic(train_size: int | None = None, test_size: int | None = None) -> DataSet:
    """The generated set, with so many images.

    Raises UserError where too many are asked for.
    """
    sizes = train_size or TRAIN_SIZE, test_size or TEST_SIZE
    if max(sizes) > MOST:
        raise UserError(f"{NAME} has {MOST:,} images at most: ask for fewer")
    train, test = generate("train", sizes[0]), generate("test", sizes[1])
    return assemble(NAME, *train, *test, classes=CLASSES)


def generate(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images uint8 [count, 32, 32, 3] and labels int64 [count] of a split."""
    chunks = [generate_chunk(SPLITS[split], index) for index in range(-(-count // CHUNK))]
    images = np.concatenate([images for images, _ in chunks])[:count]
    labels = np.concatenate([labels for _, labels in chunks])[:count]
    return images, labels


def generate_chunk(split: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState([20170615, split, index])
    labels = random.randint(0, len(PAIRS), CHUNK)
    canvas = noise(random)
    kinds = PAIRS[labels]
    alone = random.randint(0, ONE_IN, CHUNK) == 0
    kinds[alone] = kinds[alone, random.randint(0, 2, alone.sum())][:, None]
    strength = random.randint(*STRENGTH, (CHUNK, 1))
    for copy in range(2 * COPIES):
        draw(canvas, MASKS[kinds[:, copy % 2]], strength, random)
    for _ in range(DISTRACTORS):
        draw(canvas, scrambled(random), strength, random)
    return np.clip(canvas, 0, 255).astype(np.uint8), labels.astype(np.int64)


def noise(random: np.random.RandomState) -> np.ndarray:
    """Coarse patches of colour under fine grain, int64 [CHUNK, 32, 32, 3]."""
    coarse = random.randint(103, 153, (CHUNK, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    grain = random.randint(-20, 21, (CHUNK, IMAGE_SIZE, IMAGE_SIZE, 3))
    return coarse + grain


def scrambled(random: np.random.RandomState) -> np.ndarray:
    """Distractors: glyphs whose rows are shuffled, bool [CHUNK, 7, 7]."""
    masks = MASKS[random.randint(0, len(MASKS), CHUNK)]
    order = random.randint(0, 1 << 30, (CHUNK, masks.shape[1])).argsort(axis=1, kind="stable")
    return np.take_along_axis(masks, order[:, :, None], axis=1)


def draw(
    canvas: np.ndarray, masks: np.ndarray, strength: np.ndarray, random: np.random.RandomState
) -> None:
    """Add a glyph [7, 7] to each image, at a random place, in a random colour."""
    count, height, width = masks.shape
    top = random.randint(0, IMAGE_SIZE - height + 1, (count, 1, 1))
    left = random.randint(0, IMAGE_SIZE - width + 1, (count, 1, 1))
    sign = 2 * random.randint(0, 2, (count, 3)) - 1
    rows = top + np.arange(height)[None, :, None]
    columns = left + np.arange(width)[None, None, :]
    colour = (strength * sign)[:, None, None, :] * masks[..., None]
    canvas[np.arange(count)[:, None, None], rows, columns] += colour
