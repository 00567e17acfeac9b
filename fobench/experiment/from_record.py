"""The method and variant of a recorded run, read from its run.json. No torch."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from fobench.errors import UserError
from fobench.experiment.options import DataOptions, TrainOptions
from fobench.freezing import schedule
from fobench.methods import METHODS, MethodOptions
from fobench.methods.base import RunInfo
from fobench.models import options_class
from fobench.validation import Options


def method_of(record: Mapping[str, Any]) -> MethodOptions:
    """The method of a recorded run; options added since have their defaults.

    Raises UserError for a method or an option that this version does not know.
    """
    options = dict(record["run"]["method"])
    name = options.pop("name", None)
    try:
        return METHODS[name](**options)
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(
            f"{record['id']} was trained by a method {name!r} that this version of fobench does "
            "not know: use the version that wrote it"
        ) from error


def info_of(record: Mapping[str, Any]) -> RunInfo:
    """The RunInfo that the method of a recorded run was given."""
    family = record["run"]["model"].get("name")
    return RunInfo(len(record["units"]), record["total_steps"], family)


def warmup_factors(record: Mapping[str, Any], steps: Iterable[float]) -> list[float]:
    """What the warm-up multiplied the learning rates with, at each of the steps."""
    train = with_defaults(TrainOptions, record["run"]["train"])
    warmup = schedule.warmup_steps(train["warmup_epochs"], record["steps_per_epoch"])
    start = method_of(record).steps_of_a_start(record["total_steps"])
    return [schedule.warmup_factor(step % start, warmup) for step in steps]


def variant(record: Mapping[str, Any]) -> str:
    """A key that is equal for runs that differ only in seed and repeat."""
    run = record["run"]
    options = (
        network_of(run["model"]),
        with_defaults(TrainOptions, run["train"]),
        {"name": run["method"]["name"], **method_of(record).as_dict()},
    )
    subsets = {"dataset", "validation", "train_size", "test_size"}
    data = with_defaults(DataOptions, run["data"])
    data = {key: value for key, value in data.items() if key not in subsets}
    # With `match_time` the steps depend on FLOPs, not only on options.
    steps = record.get("total_steps")
    return str([steps, *(sorted(each.items()) for each in (run["data_used"], data, *options))])


def network_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recorded network, of files their content alone, not where they lie."""
    name = model.get("name")
    options = with_defaults(None if name is None else options_class(name), model)
    content = {key: value for key, value in options.items() if key not in ("title", "weights")}
    return content if name is None else content | {"name": PurePath(name).name}


def with_defaults(cls: type[Options] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded options, with defaults for options added since; lists, as in JSON, not tuples."""
    declared = {} if cls is None else cls.declared()
    defaults = {name: each.default for name, each in declared.items() if not each.is_required()}
    lists = {name: list(each) for name, each in defaults.items() if isinstance(each, tuple)}
    return {**defaults, **lists, **options}
