"""What is measured: at the paper's sizes, or in small, to rehearse the scripts without a GPU."""

from dataclasses import dataclass

from fobench.models import FAMILIES, ModelOptions


@dataclass(frozen=True)
class Sizes:
    """Networks and numbers of steps.

    `steps` are the networks whose steps are timed at every depth, `loops` those that whole loops
    train; `timed` is that of the timed runs, `errors` those that are trained for their error.
    `groups` of `group_steps` steps make up one time. Every `cut_every`-th depth is timed at the
    cut, every `eager_every`-th eagerly. A depth of the profile lasts `profile_steps`.
    """

    steps: tuple[ModelOptions, ...]
    loops: tuple[ModelOptions, ...]
    timed: ModelOptions
    errors: tuple[ModelOptions, ...]
    batch: int
    large_batch: int
    groups: int
    group_steps: int
    eager_group_steps: int
    eager_every: int
    cut_every: int
    profile_steps: int
    loop_images: int
    loop_epochs: int
    copied_bytes: int
    pinned_bytes: int
    timed_images: int
    timed_epochs: tuple[int, int]
    error_images: tuple[int, int, int]
    error_epochs: tuple[int, int]
    error_seeds: tuple[int, ...]
    error_precision: str


DENSENET = FAMILIES["densenet"](depth=76, growth_rate=12)
VGG = FAMILIES["vgg"]()
FULL = Sizes(
    steps=(DENSENET, VGG, FAMILIES["wideresnet"](depth=40, width=4)),
    loops=(DENSENET, VGG),
    timed=VGG,  # DenseNet's step takes so long in float32 that five runs do not fit
    errors=(VGG, FAMILIES["wideresnet"](depth=16, width=4)),
    batch=50,
    large_batch=256,
    groups=5,
    group_steps=6,
    eager_group_steps=4,
    eager_every=4,
    cut_every=2,
    profile_steps=61,  # so that depths seldom change where epochs do
    loop_images=1500,
    loop_epochs=3,
    copied_bytes=4 << 30,
    pinned_bytes=1 << 30,
    timed_images=4500,
    timed_epochs=(24, 60),
    error_images=(18_000, 2_000, 10_000),
    error_epochs=(15, 40),
    error_seeds=(0, 1, 2),
    error_precision="tf32",  # so that more runs fit
)
SMALL_DENSENET = FAMILIES["densenet"](depth=10, growth_rate=4)
SMALL_VGG = FAMILIES["vgg"](width=0.05)
SMALL_WIDERESNET = FAMILIES["wideresnet"](depth=10, width=1)
SMALL = Sizes(
    steps=(SMALL_DENSENET, SMALL_VGG, SMALL_WIDERESNET),
    loops=(SMALL_DENSENET,),
    timed=SMALL_DENSENET,
    errors=(SMALL_VGG, SMALL_WIDERESNET),
    batch=8,
    large_batch=12,
    groups=3,
    group_steps=2,
    eager_group_steps=1,
    eager_every=4,
    cut_every=2,
    profile_steps=7,
    loop_images=32,
    loop_epochs=2,
    copied_bytes=1 << 20,
    pinned_bytes=1 << 20,
    timed_images=40,
    timed_epochs=(2, 2),
    error_images=(48, 16, 16),
    error_epochs=(2, 2),
    error_seeds=(0,),
    error_precision="float32",
)


def sizes_for(device_name: str) -> Sizes:
    return FULL if device_name == "cuda" else SMALL
