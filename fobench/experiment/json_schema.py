"""The JSON Schema of configs, generated from the declared options. No torch."""

from collections.abc import Mapping
from typing import Any

from fobench.experiment.options import DataOptions, ExperimentOptions, TrainOptions
from fobench.methods import METHODS
from fobench.models import FAMILIES, SOURCES
from fobench.validation import Options, is_list, json_schema, option_schema


def config_schema() -> dict[str, Any]:
    """The schema. Rules about several options are checked by fobench only."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A fobench experiment",
        **table(
            {
                "experiment": table_schema(ExperimentOptions),
                "data": table_schema(DataOptions),
                "model": {
                    "oneOf": [
                        *(named_schema(name, cls) for name, cls in FAMILIES.items()),
                        *(table_schema(cls) for cls in SOURCES.values()),
                    ]
                },
                "train": table_schema(TrainOptions),
                "method": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "oneOf": [grid_schema(name, cls) for name, cls in METHODS.items()],
                    },
                },
            },
            required=["experiment", "data", "model", "train", "method"],
        ),
    }


def table(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": required,
    }


def table_schema(cls: type[Options]) -> dict[str, Any]:
    """The schema of a table whose options are those of `cls`."""
    properties = {name: untitled(option_schema(cls, name)) for name in cls.declared()}
    described = {"description": cls.__doc__.partition("\n\n")[0]} if cls.__doc__ else {}
    return described | table(properties, json_schema(cls).get("required", []))


def named_schema(name: str, cls: type[Options]) -> dict[str, Any]:
    """The schema of a table with this `name` and the options of `cls`."""
    schema = table_schema(cls)
    schema["properties"] = {"name": {"const": name}} | schema["properties"]
    schema["required"] = ["name", *schema["required"]]
    return schema


def grid_schema(name: str, cls: type[Options]) -> dict[str, Any]:
    """Like `named_schema`, but each option can also be a list of values, an axis of the grid."""
    schema = named_schema(name, cls)
    for option in cls.declared():
        one = schema["properties"][option]
        if not is_list(cls, option):
            about = {key: one.pop(key) for key in ("description", "default") if key in one}
            axis = {"type": "array", "items": one, "minItems": 1}
            schema["properties"][option] = about | {"anyOf": [one, axis]}
    return schema


def untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without pydantic's generated title and without null defaults."""
    return {
        key: value
        for key, value in schema.items()
        if key != "title" and not (key == "default" and value is None)
    }
