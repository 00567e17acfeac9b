"""What a run.json says of its run, read back with today's options. No torch."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from fobench.errors import UserError
from fobench.experiment.options import TrainOptions
from fobench.methods import METHODS, MethodOptions
from fobench.methods.method import RunInfo
from fobench.models import FAMILIES
from fobench.options import Options


def method_of(record: Mapping[str, Any]) -> MethodOptions:
    """The method of a recorded run; options younger than the record have their defaults.

    Raises UserError for a method or an option that this fobench does not know.
    """
    options = dict(record["run"]["method"])
    name = options.pop("name")
    try:
        return METHODS[name](**options)
    except (KeyError, ValidationError) as error:
        raise UserError(
            f"{record['id']} was trained by a method {name!r} that this fobench does not know: "
            "use the fobench that wrote it"
        ) from error


def info_of(record: Mapping[str, Any]) -> RunInfo:
    """What the method of a recorded run knew of it."""
    family = record["run"]["model"].get("name")
    return RunInfo(len(record["units"]), record["total_steps"], family)


def variant(record: Mapping[str, Any]) -> str:
    """What runs have in common that differ in seed and repeat alone."""
    run, family = record["run"], record["run"]["model"].get("name")
    model = {key: value for key, value in run["model"].items() if key != "title"}
    options = (
        completed(FAMILIES.get(family), model),
        completed(TrainOptions, run["train"]),
        {"name": run["method"]["name"], **method_of(record).as_dict()},
    )
    subsets = {"dataset", "validation", "train_size", "test_size"}
    data = {key: value for key, value in run["data"].items() if key not in subsets}
    # Steps too: those of a method that matches time follow from FLOPs, not from its options alone.
    steps = record.get("total_steps")
    return str([steps, *(sorted(each.items()) for each in (run["data_used"], data, *options))])


def completed(cls: type[Options] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded options, with the defaults of those that were not there yet."""
    declared = {} if cls is None else cls.declared()
    defaults = {name: each.default for name, each in declared.items() if not each.is_required()}
    return {**defaults, **options}
