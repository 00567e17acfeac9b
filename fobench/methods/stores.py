"""Options that all methods which freeze have in common: fixed views, stores of activations.

A method takes them as its first base: `class MyOptions(StoreOptions, MethodOptions)`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fobench.options import Options, show

SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
# Options that change what is stored; of what is trained on no more than the rounding.
STORING = ("precompute", "store", "budget", "plan")


def as_pairs(plan: Any) -> Any:
    """TOML's lists of lists as tuples of tuples."""
    if not isinstance(plan, list):
        return plan
    return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in plan)


FromOne = Annotated[int, Field(ge=1)]
Plan = Annotated[tuple[tuple[FromOne, FromOne], ...] | None, BeforeValidator(as_pairs)]


def size_in_bytes(size: str) -> int | None:
    """ "1.5GB" in bytes; None for what is no size."""
    found = SIZE.fullmatch(size)
    if found is None:
        return None
    number, unit = found.groups()
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** "BKMGT".index(unit[0]))


class StoreOptions(Options):
    """What is stored of frozen units, and when; see docs/stores.md.

    From the first epoch that starts with a frozen unit on, images come in `views` fixed
    augmentations by turns. With `precompute` the activations of frozen units are stored as `store`,
    within `budget`, by a plan that is made for the machine, or by `plan`, whose [epoch, cut] say
    before which epoch, counted from 1, the activations behind how many units are stored.
    """

    views: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="fixed augmentations that images take by turns once a unit is frozen",
    )
    precompute: bool = Field(False, description="store the activations of frozen units")
    store: Literal["float16", "bfloat16", "float32"] = Field(
        "float16", description="the type of stored activations"
    )
    budget: str = Field(
        "auto", description='bytes for stores, such as "4GB"; "auto": what the machine has free'
    )
    plan: Plan = Field(
        None,
        min_length=1,
        description="[[epoch, cut], …]: what to store when, in place of the plan that is measured",
    )

    @field_validator("budget")
    @classmethod
    def _budget_is_a_size(cls, budget: str) -> str:
        if budget == "auto" or size_in_bytes(budget):
            return budget
        raise ValueError(
            f'budget = {show(budget)}: give "auto" or a size above 0, such as "4GB" or "512MiB"'
        )

    @field_validator("plan")
    @classmethod
    def _plan_is_in_order(cls, plan: Any) -> Any:
        epochs = [epoch for epoch, _ in plan or ()]
        if sorted(set(epochs)) == epochs:
            return plan
        pairs = [list(each) for each in plan]
        raise ValueError(f"plan = {show(pairs)}: give [epoch, cut] in order of the epochs")

    @field_validator("store", "budget", "plan")
    @classmethod
    def _storing_is_asked_for(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[info.field_name].default
        if value == default or info.data.get("precompute", True):
            return value
        raise ValueError(
            f"{info.field_name}: nothing is stored without precompute = true; give it a table of "
            "its own"
        )

    @property
    def stores(self) -> StoreOptions:
        """Itself, for `MethodOptions.stores`."""
        return self

    @property
    def budget_bytes(self) -> int | None:
        """None for all that the machine has free."""
        return size_in_bytes(self.budget)

    def without_store(self) -> Self | None:
        """The same method seeing the same inputs with nothing stored; None if this is it."""
        if not self.precompute:
            return None
        changed = self.changed()
        return type(self)(**{key: changed[key] for key in changed if key not in STORING})

    def stores_slug(self) -> str:
        views = f"-views{self.views}" if self.views else ""
        return views + (f"-precompute-{self.store}" if self.precompute else "")

    def stores_note(self) -> str:
        """Which images are seen, and what is stored of them, behind a title."""
        note = f", {self.views} view{'s' * (self.views > 1)}" if self.views else ""
        if self.precompute:
            note += f", stored as {self.store}"
            note += "" if self.budget == "auto" else f" in {self.budget}"
            if self.plan is not None:
                note += " by plan " + " ".join(f"{epoch}:{cut}" for epoch, cut in self.plan)
        return note


NO_STORES = StoreOptions()
