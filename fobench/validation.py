"""Options: the content of a config table, declared once as a pydantic model.

    class TrainOptions(Options):
        epochs: int = Field(ge=1, description="passes over the training images")

    options, problems = read(TrainOptions, {"epochs": 0}, "[train]")

A declaration has a type, limits, a default and a description. The checks, the messages, the JSON
Schema, the reference page in the docs and the hash in run ids all derive from it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string in quotes",
    "object": "a table",
}
LIMITS = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


class Options(BaseModel):
    """A table of options. Immutable, hashable and strict: no value is converted silently.

    Rules beyond an option's own limits are field validators that raise a ValueError. Each line of
    its text is a problem and begins with the key. A rule about several options belongs to the one
    declared last, so that it is checked even if later options are invalid.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @classmethod
    @cache
    def declared(cls) -> dict[str, FieldInfo]:
        """The options by name; the class's own come before the inherited ones."""
        own = [name for name in cls.__annotations__ if name in cls.model_fields]
        return {name: cls.model_fields[name] for name in dict.fromkeys([*own, *cls.model_fields])}

    def as_dict(self) -> dict[str, Any]:
        """All values by name."""
        return {name: getattr(self, name) for name in self.declared()}

    def non_defaults(self) -> dict[str, Any]:
        """The values that differ from their default or have none. Run ids depend on these alone."""
        return {
            name: value
            for name, field in self.declared().items()
            if (value := getattr(self, name)) != field.default or field.is_required()
        }

    def replace(self, **changes: Any) -> Self:
        """A copy with some options changed, validated again."""
        return type(self)(**{**self.as_dict(), **changes})


AnyOptions = TypeVar("AnyOptions", bound=Options)


def read(
    cls: type[AnyOptions], table: Mapping[str, Any], where: str
) -> tuple[AnyOptions | None, list[str]]:
    """Make `cls` from a config table. Returns (options, []) or (None, all problems found)."""
    # -0.0 + 0.0 is 0.0: the two would be runs of different ids.
    values = {key: unsigned_zero(each) for key, each in table.items()}
    try:
        return cls.model_validate(values), []
    except ValidationError as error:
        messages = [message_of(cls, table, each) for each in error.errors(include_url=False)]
    problems = [problem for message in messages for problem in message.splitlines()]
    return None, [f"{where} {each}" for each in dict.fromkeys(problems)]


def unsigned_zero(value: Any) -> Any:
    if isinstance(value, list):
        return [unsigned_zero(each) for each in value]
    return value + 0.0 if isinstance(value, float) else value


def message_of(cls: type[Options], table: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    """A message for one pydantic error: the key, what is wrong and what is allowed."""
    if error["type"] == "value_error":  # may be about no option, but about all
        return str(error["ctx"]["error"])
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return unknown_key(key, cls.declared())
    given = f"{key} = {format_value(table[key])}" if key in table else f"{key} is missing"
    return f"{given}: give {allowed(option_schema(cls, key))}"


@cache
def json_schema(cls: type[Options]) -> dict[str, Any]:
    """The JSON Schema of a table as users write it, without `$ref`."""
    schema = cls.model_json_schema(mode="validation")
    if "$defs" in schema:
        raise TypeError(f"{cls.__name__}: options must be plain values, not nested tables")
    properties = schema.get("properties", {})
    return schema | {"properties": {name: properties[name] for name in cls.declared()}}


def option_schema(cls: type[Options], name: str) -> dict[str, Any]:
    """The JSON Schema of one option, without the null type that means "not set"."""
    schema = json_schema(cls)["properties"][name]
    given = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(given) != 1:
        return schema
    return {key: value for key, value in schema.items() if key != "anyOf"} | given[0]


def json_types(cls: type[Options], name: str) -> set[str]:
    """The JSON types that a single value of the option can have."""
    schema = option_schema(cls, name)
    return {each["type"] for each in (schema, *schema.get("anyOf", ())) if "type" in each}


def is_list(cls: type[Options], name: str) -> bool:
    """Whether a single value of the option can itself be a list."""
    return "array" in json_types(cls, name)


def allowed(schema: Mapping[str, Any]) -> str:
    """What the JSON Schema of an option allows, in words."""
    if "enum" in schema:
        return " or ".join(repr(choice) for choice in schema["enum"])
    if "anyOf" in schema:
        return f"{allowed(schema['anyOf'][0])} or a list of such"
    if schema.get("type") == "array":
        inner = schema.get("prefixItems") or schema["items"]["prefixItems"]
        names = ", ".join(TYPE_NAMES[each["type"]].removeprefix("a ") for each in inner)
        several = "" if "prefixItems" in schema else "a list of "
        return f"{several}[{names}], each {limits(inner[0])}".rstrip()
    if "pattern" in schema and "description" in schema:
        return schema["description"]
    filled = ", not empty" if schema.get("minLength") else ""
    return f"{TYPE_NAMES[schema['type']]} {limits(schema)}".rstrip() + filled


def limits(schema: Mapping[str, Any]) -> str:
    bounds = {word: schema[key] for key, word in LIMITS.items() if key in schema}
    return " and ".join(
        f"{word} {bound:g}" if isinstance(bound, float) else f"{word} {bound}"
        for word, bound in bounds.items()
    )


def format_value(value: Any, longest: int = 80) -> str:
    """A value about as the user wrote it, for messages."""
    try:
        text = json.dumps(value) if isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):  # integers of over 4,300 digits, deeply nested tables …
        text = "something too long to show"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for an unknown key or name, suggesting the closest known one."""
    near = get_close_matches(key, list(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{toml_key(key)} is not known: {hint}"


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it can be."""
    return key if BARE_KEY.fullmatch(key) else format_value(key)
