"""Options shared by all methods that freeze: fixed views and stores of activations.

A method inherits them as its first base: `class MyOptions(StoreOptions, MethodOptions)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fobench.validation import Options, format_value

SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
# Options that affect what is stored, but not the training, except for rounding.
STORE_OPTIONS = ("precompute", "store", "budget", "plan")


def as_tuples(plan: Any) -> Any:
    """Lists of lists, as read from TOML, as tuples of tuples."""
    if not isinstance(plan, list):
        return plan
    return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in plan)


PositiveInt = Annotated[int, Field(ge=1)]
Plan = Annotated[tuple[tuple[PositiveInt, PositiveInt], ...] | None, BeforeValidator(as_tuples)]


def size_in_bytes(size: str) -> int | None:
    """The bytes of a size such as "1.5GB"; None if it is not a size."""
    found = SIZE.fullmatch(size)
    if found is None:
        return None
    number, unit = found.groups()
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** "BKMGT".index(unit[0]))


def is_in_order(plan: Iterable[tuple[int, int]]) -> bool:
    epochs = [epoch for epoch, _ in plan]
    return sorted(set(epochs)) == epochs


class StoreOptions(Options):
    """What is stored of frozen units, and when; see docs/stores.md.

    From the first epoch that starts with a frozen unit, images alternate between `views` fixed
    augmentations. With `precompute` the activations of frozen units are stored as `store` within
    `budget`, by a plan made for the machine or by `plan`: [epoch, cut] stores the activations
    behind the first `cut` units at the start of that epoch, counted from 1.
    """

    views: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="fixed augmentations that images alternate between once a unit is frozen",
    )
    precompute: bool = Field(False, description="store the activations of frozen units")
    store: Literal["float16", "bfloat16", "float32"] = Field(
        "float16", description="the type of stored activations"
    )
    budget: str = Field(
        "auto", description='size of all stores, such as "4GB"; "auto": the free memory or disk'
    )
    plan: Plan = Field(
        None,
        min_length=1,
        description="[[epoch, cut], …]: what to store when, instead of the measured plan",
    )

    @field_validator("store", "budget", "plan")
    @classmethod
    def _check(cls, value: Any, info: ValidationInfo) -> Any:
        # All rules in one validator: pydantic stops at an option's first that fails.
        problems = []
        if info.field_name == "budget" and value != "auto" and not size_in_bytes(value):
            problems.append(
                f'budget = {format_value(value)}: give "auto" or a size above 0, such as "4GB" or '
                '"512MiB"'
            )
        if info.field_name == "plan" and not is_in_order(value or ()):
            pairs = format_value([list(each) for each in value])
            problems.append(f"plan = {pairs}: give [epoch, cut] in order of the epochs")
        is_set = value != cls.model_fields[info.field_name].default
        if is_set and not info.data.get("precompute", True):
            problems.append(
                f"{info.field_name}: nothing is stored without precompute = true; set both in one "
                "[[method]] table, without a list for precompute"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return value

    @property
    def stores(self) -> StoreOptions:
        """These options; overrides `MethodOptions.stores`."""
        return self

    @property
    def budget_bytes(self) -> int | None:
        """The budget in bytes; None for no limit but the machine's."""
        return size_in_bytes(self.budget)

    def without_store(self) -> Self | None:
        """The same method with the same inputs and nothing stored; None if nothing is stored."""
        if not self.precompute:
            return None
        changed = self.non_defaults()
        return type(self)(**{key: changed[key] for key in changed if key not in STORE_OPTIONS})

    def stores_slug(self) -> str:
        views = f"-views{self.views}" if self.views else ""
        return views + (f"-precompute-{self.store}" if self.precompute else "")

    def stores_note(self) -> str:
        """Views and stores, as a suffix of the title."""
        note = f", {self.views} view{'s' * (self.views > 1)}" if self.views else ""
        if self.precompute:
            note += f", stored as {self.store}"
            note += "" if self.budget == "auto" else f" in {self.budget}"
            if self.plan is not None:
                note += " by plan " + " ".join(f"{epoch}:{cut}" for epoch, cut in self.plan)
        return note


NO_STORES = StoreOptions()
