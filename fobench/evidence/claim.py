"""A claim: what was said, about which settings, and for which figures it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, field_validator

from fobench.evidence.outcomes import Margin
from fobench.experiment.setting import Setting, family_problem
from fobench.validation import Options


class ClaimOptions(Options):
    """The keys of a table [[claim]], without its setting."""

    id: str = Field(min_length=1, description="a short name, different from all others")
    statement: str = Field(min_length=1, description="what is claimed, in a sentence")
    source: str = Field(min_length=1, description="who claims it, and where")
    family: str | None = Field(
        None, description="the network family that it is about; any without it"
    )
    test: str = Field(description="what it is tested by")
    choose: Literal["beforehand", "validation error"] = Field(
        "beforehand",
        description='"validation error": of the settings that save as much time as claimed, the '
        "one with the lowest mean validation error after the last epoch",
    )
    time_min: float | None = Field(None, description="least time saved, in the test's unit")
    time_max: float | None = Field(None, description="most time saved")
    error_min: float | None = Field(None, description="least change of the error")
    error_max: float | None = Field(None, description="largest change of the error")
    error_in: Literal["points", "percent"] = Field(
        "points", description="points of error, or percent of the error compared with"
    )
    config: str | None = Field(
        None, description="a config whose runs test it, named where no results do"
    )

    @field_validator("family")
    @classmethod
    def _family_is_known(cls, family: str | None) -> str | None:
        problem = None if family is None else family_problem(family)
        if problem:
            raise ValueError(problem)
        return family


@dataclass(frozen=True)
class Claim:
    """A claim, and its settings.

    `setting` is what it is about, None for all that the test applies to; `others` is what that is
    set beside. `margins` are those that are set, by the names of the test's figures.
    """

    options: ClaimOptions
    setting: Setting | None = None
    others: Setting | None = None
    margins: Mapping[str, Margin] = field(default_factory=dict, hash=False)

    @property
    def time(self) -> Margin:
        return margin(self.options.time_min, self.options.time_max)

    @property
    def error(self) -> Margin:
        return margin(self.options.error_min, self.options.error_max)

    @property
    def chosen_by_validation(self) -> bool:
        return self.options.choose == "validation error"


def margin(low: float | None, high: float | None) -> Margin:
    ends = {"low": low, "high": high}
    return Margin(**{name: end for name, end in ends.items() if end is not None})
