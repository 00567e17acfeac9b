"""The JSON Schema says what the reader of configs accepts."""

import json
import tomllib

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from fobench.errors import UserError
from fobench.experiment.json_schema import config_schema
from fobench.experiment.packaged_configs import configs_folder
from tests.experiment.test_config_properties import configs, load_text

SCHEMA = config_schema()
CONFIGS = sorted(configs_folder().glob("*/*.toml"))


def mistakes(config: str) -> list[str]:
    # By way of JSON, as an editor compares: dates of TOML are text there.
    tables = json.loads(json.dumps(tomllib.loads(config), default=str))
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(tables)]


def test_it_is_a_sound_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_packaged_config_names_it_and_keeps_to_it(config):
    text = config.read_text()
    schema = (config.parent / text.partition("\n")[0].removeprefix("#:schema ")).resolve()
    assert json.loads(schema.read_text()) == SCHEMA, "run `make docs`"
    assert mistakes(text) == []


@given(configs())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_what_the_reader_accepts_the_schema_accepts(tmp_path_factory, config):
    """It need not refuse all that the reader refuses: rules are the reader's."""
    text, _ = config
    try:
        load_text(tmp_path_factory.getbasetemp(), text)
    except UserError:
        return
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = ", "epohcs = ", "epohcs"),
        ('name = "densenet"', 'name = "resnext"', "resnext"),
        ("batch_size = 32", 'batch_size = "32"', "'32' is not of type 'integer'"),
        ("validation = 500", "validation = -1", "-1 is less than the minimum of 0"),
        ('scaling = "cubic"', 'scaling = ["linear", "quartic"]', "quartic"),
    ],
)
def test_mistakes_are_underlined(old, new, message):
    text = (configs_folder() / "quick" / "densenet.toml").read_text()
    assert old in text
    assert any(message in each for each in mistakes(text.replace(old, new)))
