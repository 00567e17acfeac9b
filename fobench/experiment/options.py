"""The options of a config's tables, but for [model] and [[method]], which name theirs. No torch."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fobench.options import Options, show

MOST_IMAGES = 10_000_000
MOST_SECONDS = 1e9
# Divided by a freeze time, it still is a number that float32 has.
MOST_RATE = 1e6
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def one_or_more(value: Any) -> tuple[Any, ...]:
    """A value, or a list of values, as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


T = TypeVar("T")
OneAtLeast = Annotated[tuple[T, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seeds = Annotated[
    tuple[Seed, ...],
    BeforeValidator(one_or_more, json_schema_input_type=Seed | OneAtLeast[Seed]),
]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(one_or_more, json_schema_input_type=str | OneAtLeast[str]),
]


class ExperimentOptions(Options):
    """What is trained how often, and where its results go."""

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
        0.0, ge=0, le=MOST_SECONDS, description="least seconds between two checkpoints of a run"
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if NAME.fullmatch(name):
            return name
        raise ValueError(
            f"name = {show(name)}: give letters, digits, '.', '_' and '-' alone, a letter or digit "
            "first; it names a folder of results"
        )

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) == len(seeds):
            return seeds
        raise ValueError(f"seeds = {show(list(seeds))}: give each seed once")


class DataOptions(Options):
    """The images."""

    dataset: Names = Field(
        min_length=1,
        description="a name, a path to an .npz file, or a list: the first that can be had is used",
    )
    augment: Literal["random", "none"] = Field(
        "random", description='"random": crop and flip; "none": every epoch sees the same images'
    )
    validation: int = Field(
        0, ge=0, le=MOST_IMAGES, description="how many of the last training images are held out"
    )
    train_size: int | None = Field(
        None, ge=2, le=MOST_IMAGES, description="how many of the first images are trained on"
    )
    test_size: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="how many of the first test images are used"
    )

    @field_validator("dataset")
    @classmethod
    def _sets_have_names(cls, dataset: tuple[str, ...]) -> tuple[str, ...]:
        if all(dataset):
            return dataset
        raise ValueError('dataset = "": give the name or the path of a data set')


class TrainOptions(Options):
    """The training that all methods have in common: SGD."""

    epochs: int = Field(ge=1, le=1_000_000, description="passes over the training images")
    batch_size: int = Field(ge=2, le=1_000_000, description="images a step")
    lr: float = Field(0.1, gt=0, le=MOST_RATE, description="initial learning rate")
    momentum: float = Field(0.9, ge=0, le=1, description="of SGD")
    nesterov: bool = Field(True, description="Nesterov momentum")
    weight_decay: float = Field(1e-4, ge=0, le=MOST_RATE, description="on all parameters")
    deterministic: bool = Field(
        False, description="on CUDA, repeat bit for bit, at the price of speed; the CPU always does"
    )

    @field_validator("nesterov")
    @classmethod
    def _nesterov_has_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError(
                "momentum = 0.0: Nesterov momentum needs more than 0, or set nesterov = false"
            )
        return nesterov
