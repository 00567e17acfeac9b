"""The options of [experiment], [data] and [train]. No torch."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fobench.methods.base import MAX_RATE
from fobench.validation import Options, format_value

MAX_IMAGES = 10_000_000
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
        description="a name, a path to an .npz file, or a list: the first one available is used",
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

    @field_validator("dataset")
    @classmethod
    def _sets_have_names(cls, dataset: tuple[str, ...]) -> tuple[str, ...]:
        if all(dataset):
            return dataset
        raise ValueError('dataset = "": give the name or the path of a data set')


class TrainOptions(Options):
    """Training with SGD, the same for all methods."""

    epochs: int = Field(ge=1, le=1_000_000, description="passes over the training images")
    batch_size: int = Field(ge=2, le=1_000_000, description="images per step")
    lr: float = Field(0.1, gt=0, le=MAX_RATE, description="initial learning rate")
    momentum: float = Field(0.9, ge=0, le=1, description="of SGD")
    nesterov: bool = Field(True, description="Nesterov momentum")
    weight_decay: float = Field(1e-4, ge=0, le=MAX_RATE, description="on all parameters")
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
        "torch.compile; takes up to a minute before training",
    )
    step: Literal["auto", "eager", "graph"] = Field(
        "auto",
        description='how training steps are carried out; "graph", on CUDA only: captured as CUDA '
        'graphs and replayed; "auto": graph on CUDA, else eager',
    )

    @field_validator("nesterov")
    @classmethod
    def _nesterov_has_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError(
                "momentum = 0.0: Nesterov momentum needs more than 0, or set nesterov = false"
            )
        return nesterov


# The tables whose options do not depend on a name in them.
TABLES: dict[str, type[Options]] = {
    "experiment": ExperimentOptions,
    "data": DataOptions,
    "train": TrainOptions,
}
