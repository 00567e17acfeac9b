"""What is measured: at the paper's sizes, or in small, to rehearse the scripts without a GPU."""

from dataclasses import dataclass

from fobench.models import FAMILIES, ModelOptions


@dataclass(frozen=True)
class Sizes:
    """Networks and numbers of steps.

    `steps` are the networks whose steps are timed at every depth, `loops` those that whole loops
    train. `groups` of `group_steps` steps make up one time. Every `cut_every`-th depth is timed at
    the cut, every `eager_every`-th eagerly.
    """

    steps: tuple[ModelOptions, ...]
    loops: tuple[ModelOptions, ...]
    batch: int
    large_batch: int
    groups: int
    group_steps: int
    eager_group_steps: int
    eager_every: int
    cut_every: int
    loop_images: int
    loop_epochs: int
    copied_bytes: int
    pinned_bytes: int


DENSENET = FAMILIES["densenet"](depth=76, growth_rate=12)
VGG = FAMILIES["vgg"]()
FULL = Sizes(
    steps=(DENSENET, VGG, FAMILIES["wideresnet"](depth=40, width=4)),
    loops=(DENSENET, VGG),
    batch=50,
    large_batch=256,
    groups=5,
    group_steps=6,
    eager_group_steps=4,
    eager_every=4,
    cut_every=2,
    loop_images=1500,
    loop_epochs=3,
    copied_bytes=4 << 30,
    pinned_bytes=1 << 30,
)
SMALL_DENSENET = FAMILIES["densenet"](depth=10, growth_rate=4)
SMALL_VGG = FAMILIES["vgg"](width=0.05)
SMALL_WIDERESNET = FAMILIES["wideresnet"](depth=10, width=1)
SMALL = Sizes(
    steps=(SMALL_DENSENET, SMALL_VGG, SMALL_WIDERESNET),
    loops=(SMALL_DENSENET,),
    batch=8,
    large_batch=12,
    groups=3,
    group_steps=2,
    eager_group_steps=1,
    eager_every=4,
    cut_every=2,
    loop_images=32,
    loop_epochs=2,
    copied_bytes=1 << 20,
    pinned_bytes=1 << 20,
)


def sizes_for(device_name: str) -> Sizes:
    return FULL if device_name == "cuda" else SMALL
