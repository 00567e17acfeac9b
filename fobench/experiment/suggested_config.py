"""The text of a config for a network and a data set, from what is known of both. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fobench.experiment.starter_config import toml

SGD = """\
lr = 0.1
"""
# As transformers and networks like them are trained.
ADAMW = """\
optimizer = "adamw"
lr = 1e-3
weight_decay = 0.05
decay_on = "matrices"
warmup_epochs = 2.0
clip_grad_norm = 1.0
label_smoothing = 0.1
"""


@dataclass(frozen=True)
class Known:
    """What a suggestion depends on.

    `image_size` is None for images as they are; `is_sorted` tells whether they are sorted by class,
    as in folders; `model` is the [model] table.
    """

    data: str
    train_images: int
    image_size: int | None
    is_sorted: bool
    model: Mapping[str, Any]
    has_batchnorm: bool


def suggested_config(name: str, known: Known) -> str:
    """A config that compares FreezeOut, alone and with a store, with shorter baselines."""
    batch_size = max(2, min(64, known.train_images // 8))
    validation = known.train_images // 10
    if (known.train_images - validation) % batch_size == 1:
        validation += 1  # a last batch of one image is refused
    size = f"image_size = {known.image_size}\n" if known.image_size else ""
    shuffle = "# They are sorted by class.\nshuffle = true\n" if known.is_sorted else ""
    model = "\n".join(f"{key} = {toml(value)}" for key, value in known.model.items())
    return f"""\
[experiment]
name = {toml(name)}
seeds = [0, 1, 2]

[data]
dataset = {toml(known.data)}
{size}{shuffle}validation = {validation}

[model]
{model}

[train]
epochs = 30
batch_size = {batch_size}
{SGD if known.has_batchnorm else ADAMW}
# Shares below 1 are the line to beat: the same time saved without freezing.
[[method]]
name = "baseline"
epoch_share = [1.0, 0.85, 0.7, 0.55, 0.4, 0.3]

[[method]]
name = "freezeout"
t0 = [0.5, 0.8]

# Its control: the same views of the images, nothing stored.
[[method]]
name = "freezeout"
t0 = 0.5
views = 4

[[method]]
name = "freezeout"
t0 = 0.5
views = 4
precompute = true
"""
