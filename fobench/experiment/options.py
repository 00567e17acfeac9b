"""The options of [experiment], [data] and [train]. No torch."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from fobench.methods.base import MAX_RATE
from fobench.validation import Options, format_value

MAX_IMAGES = 10_000_000
MAX_PIXELS = 4096  # per side
MAX_SECONDS = 1e9
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A value, or a list of values, as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


T = TypeVar("T")
NonEmpty = Annotated[tuple[T, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seeds = Annotated[
    tuple[Seed, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Seed | NonEmpty[Seed]),
]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(as_tuple, json_schema_input_type=str | NonEmpty[str]),
]
Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[
    tuple[Beta, Beta],
    BeforeValidator(as_tuple, json_schema_input_type=tuple[Beta, Beta]),
]
# The options of each optimizer alone.
OPTIONS_OF = {"sgd": ("momentum", "nesterov"), "adamw": ("betas", "eps")}
# Options whose defaults are for SGD alone, and what AdamW is often given.
USUAL_FOR_ADAMW = {"lr": "1e-3", "weight_decay": "0.05"}


class ExperimentOptions(Options):
    """What to train, how often, and where the results go."""

    name: str = Field(description="the folder of results; letters, digits, '.', '_' and '-'")
    seeds: Seeds = Field(
        (0,), min_length=1, description="each method is trained once with each seed"
    )
    repeats: int = Field(
        1,
        ge=1,
        le=1000,
        description="2 trains everything twice (A/A), to see the noise of the clock",
    )
    checkpoint_every: float = Field(
        0.0, ge=0, le=MAX_SECONDS, description="minimum seconds between two checkpoints of a run"
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if NAME.fullmatch(name):
            return name
        raise ValueError(
            f"name = {format_value(name)}: give only letters, digits, '.', '_' and '-', a "
            "letter or digit first; it names a folder of results"
        )

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) == len(seeds):
            return seeds
        raise ValueError(f"seeds = {format_value(list(seeds))}: give each seed once")


class DataOptions(Options):
    """The images."""

    dataset: Names = Field(
        min_length=1,
        description="a name, a path to an .npz file or a folder of images, or a list: the first "
        "one available is used",
    )
    augment: Literal["random", "none"] = Field(
        "random", description='"random": crop and flip; "none": every epoch sees the same images'
    )
    validation: int = Field(
        0, ge=0, le=MAX_IMAGES, description="how many of the last training images are held out"
    )
    train_size: int | None = Field(
        None, ge=2, le=MAX_IMAGES, description="how many of the first images are trained on"
    )
    test_size: int | None = Field(
        None, ge=1, le=MAX_IMAGES, description="how many of the first test images are used"
    )
    shuffle: bool = Field(
        False,
        description="put the training and the test images into a fixed random order, the same for "
        "all seeds, before parts are cut: for files sorted by class",
    )
    image_size: int | None = Field(
        None,
        ge=4,
        le=MAX_PIXELS,
        description="pixels per side to which images are resized, the shorter side first, then the "
        "centre is cropped; by default they stay as they are",
    )

    @field_validator("dataset")
    @classmethod
    def _sets_have_names(cls, dataset: tuple[str, ...]) -> tuple[str, ...]:
        if all(dataset):
            return dataset
        raise ValueError('dataset = "": give the name or the path of a data set')


class TrainOptions(Options):
    """How networks are trained, the same for all methods."""

    epochs: int = Field(ge=1, le=1_000_000, description="passes over the training images")
    batch_size: int = Field(ge=2, le=1_000_000, description="images per step")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd",
        description='"adamw": with decoupled weight decay; lr and weight_decay must be given',
    )
    lr: float = Field(
        0.1, gt=0, le=MAX_RATE, description="initial learning rate; the default is for SGD only"
    )
    momentum: float = Field(0.9, ge=0, le=1, description="of SGD")
    nesterov: bool = Field(True, description="Nesterov momentum, of SGD")
    betas: Betas = Field(
        (0.9, 0.999), description="of AdamW: decay of its means of gradients and of their squares"
    )
    eps: float = Field(1e-8, gt=0, le=1, description="of AdamW: added to what it divides by")
    weight_decay: float = Field(
        1e-4,
        ge=0,
        le=MAX_RATE,
        description="on the parameters of decay_on; the default is for SGD only",
    )
    decay_on: Literal["all", "matrices"] = Field(
        "all",
        description='"matrices": the kernels of convolutions and linear layers alone, not biases, '
        "scales and shifts of norms, class tokens and position embeddings [1, …], tables of "
        "relative positions, and what the network names in no_weight_decay()",
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        description="the first epochs, whose learning rates are those of the method times a factor "
        "that rises linearly to 1",
    )
    clip_grad_norm: float | None = Field(
        None,
        gt=0,
        le=MAX_RATE,
        description="scale gradients down where the norm of all of them together is larger",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="of the training loss; evaluation is without"
    )
    deterministic: bool = Field(
        False, description="on CUDA, repeat bit for bit, at the cost of speed; the CPU always does"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description='of forward and backward passes; "tf32", on CUDA only: convolutions and matrix '
        'products round their float32 inputs; "bfloat16": autocast, with float32 weights',
    )
    fuse_batchnorm: bool = Field(
        False,
        description="compile each BatchNorm and the ReLU behind it into one kernel, by "
        "torch.compile; takes up to a minute before training, and a C++ compiler",
    )
    sync_batchnorm: bool = Field(
        False,
        description="where several processes train a run, BatchNorm normalises by the statistics "
        "of the images of all, not of each process's part of a batch",
    )
    step: Literal["auto", "eager", "graph"] = Field(
        "auto",
        description='how training steps are carried out; "graph", on CUDA only: captured as CUDA '
        'graphs and replayed; "auto": graph on CUDA, else eager',
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_are_for_sgd(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("optimizer") == "adamw":
            return {**dict.fromkeys(USUAL_FOR_ADAMW), **values}
        return values

    @field_validator("sync_batchnorm")
    @classmethod
    def _is_not_fused(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("fuse_batchnorm"):
            raise ValueError(
                "sync_batchnorm = true: it cannot be compiled by fuse_batchnorm = true: leave one "
                "of them out"
            )
        return value

    @field_validator(*USUAL_FOR_ADAMW, mode="before")
    @classmethod
    def _is_given(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            key = info.field_name
            raise ValueError(
                f'{key} is missing: its default is for SGD; give one for optimizer = "adamw", such '
                f"as {key} = {USUAL_FOR_ADAMW[key]}"
            )
        return value

    @field_validator("momentum", "nesterov", "betas", "eps")
    @classmethod
    def _fits_the_optimizer(cls, value: Any, info: ValidationInfo) -> Any:
        # All rules in one validator: pydantic stops at an option's first that fails.
        key, chosen = info.field_name, info.data.get("optimizer")  # none that is valid: None
        [owner] = (each for each, options in OPTIONS_OF.items() if key in options)
        if chosen not in (None, owner) and value != cls.model_fields[key].default:
            written = format_value(list(value) if isinstance(value, tuple) else value)
            raise ValueError(
                f'{key} = {written}: it is an option of optimizer = "{owner}": remove it, or set '
                "that optimizer"
            )
        if key == "nesterov" and value and info.data.get("momentum") == 0:
            raise ValueError(
                "momentum = 0.0: Nesterov momentum needs more than 0, or set nesterov = false"
            )
        return value


# The tables whose options do not depend on a name in them.
TABLES: dict[str, type[Options]] = {
    "experiment": ExperimentOptions,
    "data": DataOptions,
    "train": TrainOptions,
}
