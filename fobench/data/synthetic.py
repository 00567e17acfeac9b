"""Generated data sets, the same bytes on every machine: `synthetic`, a fallback that needs no
download, and `synthetic16`, smaller and easier, for a first look in minutes.

Each image shows two of five kinds of glyph, a few copies of each, at random places on noise; the
pair of kinds is the class (5 choose 2 = 10). A network must learn the glyphs as local features and
then which of them occur together, so layers that are frozen before they have learned cost accuracy.
Glyphs are faint in some images and clear in others, so that the error falls gradually. Each glyph
is its own mirror image.

In `synthetic` glyphs have random colours, and one image in seven shows only one of its two kinds,
which leaves four possible classes: no network can get below 100 · 1/7 · 3/4 = 10.7 % error. In
`synthetic16` glyphs are light, and some are almost invisible.

All arithmetic is on integers, and all random numbers come from numpy's legacy generator, whose
stream numpy guarantees not to change.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fobench.data.dataset import DataSet, assemble
from fobench.errors import UserError

TRAIN_SIZE, TEST_SIZE, MAX_SIZE = 10_000, 2_000, 500_000  # images
CHUNK = 500  # images per random stream, so that image i does not depend on how many are made
PATCHES = 4  # of background per side
COPIES = 3  # of each of the two kinds of glyph

GLYPHS_7 = """
..###.. #.....# ...#... ####### #..#..#
.#...#. .#...#. ..#.#.. ....... #..#..#
#.....# ..#.#.. ..#.#.. ....... #..#..#
#.....# ...#... .#...#. ####### #..#..#
#.....# ..#.#.. .#...#. ....... #..#..#
.#...#. .#...#. #.....# ....... #..#..#
..###.. #.....# ####### ####### #..#..#
"""
GLYPHS_5 = """
##### #...# ..#.. ##### #.#.#
#...# .#.#. .###. ..... #.#.#
#...# ..#.. ##### ##### #.#.#
#...# .#.#. .###. ..... #.#.#
##### #...# ..#.. ##### #.#.#
"""

SPLITS = {"train": 0, "test": 1}


def glyph_masks(glyphs: str) -> np.ndarray:
    """The five glyphs as bool [5, side, side]."""
    rows = [line.split() for line in glyphs.split("\n") if line]
    return np.array([[[c == "#" for c in part] for part in row] for row in rows]).transpose(1, 0, 2)


@dataclass(frozen=True)
class Recipe:
    """How the images of a set are made."""

    key: int  # of its random streams
    size: int  # pixels per side
    masks: np.ndarray
    margin: int  # pixels at the edge without glyphs
    coloured: bool
    strength: tuple[int, int]  # contrast of an image's glyphs, in pixel values
    distractors: int
    alone: int  # images in seven that show only one of their two kinds


RECIPES = {
    "synthetic": Recipe(
        key=20170615,
        size=32,
        masks=glyph_masks(GLYPHS_7),
        margin=0,
        coloured=True,
        strength=(16, 90),
        distractors=1,
        alone=1,
    ),
    "synthetic16": Recipe(
        key=20170616,
        size=16,
        masks=glyph_masks(GLYPHS_5),
        margin=1,  # so that a crop seldom cuts all copies of a glyph
        coloured=False,
        strength=(4, 100),
        distractors=0,
        alone=0,
    ),
}
PAIRS = np.array(list(combinations(range(5), 2)))
CLASSES = [f"glyphs {a} and {b}" for a, b in PAIRS]


def open_synthetic(
    name: str, train_size: int | None = None, test_size: int | None = None
) -> DataSet:
    """The generated set of that name, with the given numbers of images.

    Raises UserError if more are requested than it has.
    """
    sizes = train_size or TRAIN_SIZE, test_size or TEST_SIZE
    if max(sizes) > MAX_SIZE:
        raise UserError(f"{name} has {MAX_SIZE:,} images at most: request fewer")
    train, test = generate(name, "train", sizes[0]), generate(name, "test", sizes[1])
    return assemble(name, *train, *test, classes=CLASSES)


def generate(name: str, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images uint8 [count, size, size, 3] and labels int64 [count] of a split."""
    recipe, number = RECIPES[name], SPLITS[split]
    chunks = [generate_chunk(recipe, number, index) for index in range(-(-count // CHUNK))]
    images = np.concatenate([images for images, _ in chunks])[:count]
    labels = np.concatenate([labels for _, labels in chunks])[:count]
    return images, labels


def generate_chunk(recipe: Recipe, split: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState([recipe.key, split, index])
    labels = random.randint(0, len(PAIRS), CHUNK)
    canvas = noise(recipe.size, random)
    kinds = PAIRS[labels]
    alone = random.randint(0, 7, CHUNK) < recipe.alone
    kinds[alone] = kinds[alone, random.randint(0, 2, alone.sum())][:, None]
    strength = random.randint(*recipe.strength, (CHUNK, 1))
    for copy in range(2 * COPIES):
        draw(recipe, canvas, recipe.masks[kinds[:, copy % 2]], strength, random)
    for _ in range(recipe.distractors):
        draw(recipe, canvas, scrambled(recipe.masks, random), strength, random)
    return np.clip(canvas, 0, 255).astype(np.uint8), labels.astype(np.int64)


def noise(size: int, random: np.random.RandomState) -> np.ndarray:
    """Coarse patches of colour under fine grain, int64 [CHUNK, size, size, 3]."""
    coarse = random.randint(103, 153, (CHUNK, PATCHES, PATCHES, 3))
    grain = random.randint(-20, 21, (CHUNK, size, size, 3))
    return coarse.repeat(size // PATCHES, axis=1).repeat(size // PATCHES, axis=2) + grain


def scrambled(glyphs: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Distractors: glyphs whose rows are shuffled, bool [CHUNK, side, side]."""
    masks = glyphs[random.randint(0, len(glyphs), CHUNK)]
    order = random.randint(0, 1 << 30, (CHUNK, masks.shape[1])).argsort(axis=1, kind="stable")
    return np.take_along_axis(masks, order[:, :, None], axis=1)


def draw(
    recipe: Recipe,
    canvas: np.ndarray,
    masks: np.ndarray,
    strength: np.ndarray,
    random: np.random.RandomState,
) -> None:
    """Add a glyph [side, side] to each image, at a random place, in a random colour or light."""
    count, height, width = masks.shape
    end = recipe.size - recipe.margin + 1
    top = random.randint(recipe.margin, end - height, (count, 1, 1))
    left = random.randint(recipe.margin, end - width, (count, 1, 1))
    sign = 2 * random.randint(0 if recipe.coloured else 1, 2, (count, 3)) - 1
    rows = top + np.arange(height)[None, :, None]
    columns = left + np.arange(width)[None, None, :]
    colour = (strength * sign)[:, None, None, :] * masks[..., None]
    canvas[np.arange(count)[:, None, None], rows, columns] += colour
