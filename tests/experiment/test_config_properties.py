"""Generated configs: each is either valid runs, or an error that names each bad key."""

import json
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import Experiment, load
from fobench.experiment.expand import expand

DATASET = open_synthetic("synthetic", 200, 40)
NONSENSE = [
    *(-7, 0.0, -0.5, 1e400, float("nan"), 10**30, True, date(2017, 6, 15)),
    *("nonsense", "", [], {}, [[1]], [{}], {"a": 1}),
]


def whole(low: int, high: int) -> st.SearchStrategy:
    return st.integers(low, high)


def real(low: float, high: float) -> st.SearchStrategy:
    return st.floats(low, high, allow_nan=False).map(lambda number: round(number, 6))


# Good values of each option, written out apart from the declarations they test.
GOOD: dict[str, dict[str, st.SearchStrategy]] = {
    "experiment": {
        "name": st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
        "seeds": st.lists(whole(0, 9), min_size=1, max_size=3, unique=True),
        "repeats": whole(1, 3),
    },
    "data": {
        "dataset": st.sampled_from(["synthetic", ["cifar10", "synthetic"], "./mine.npz"]),
        "augment": st.sampled_from(["random", "none"]),
        "validation": whole(0, 50),
        "train_size": whole(50, 150),
        "test_size": whole(1, 40),
        "shuffle": st.booleans(),
    },
    "train": {
        "epochs": whole(1, 500),
        "batch_size": whole(2, 500),
        "lr": real(0.001, 10),
        "momentum": real(0.1, 1),
        "nesterov": st.booleans(),
        "weight_decay": real(0, 1),
        "deterministic": st.booleans(),
    },
    "densenet": {
        "depth": st.sampled_from([10, 16, 22, 76, 100]),
        "growth_rate": whole(2, 48),
        "reduction": real(0.5, 1),
    },
    "wideresnet": {
        "depth": st.sampled_from([10, 16, 28, 40]),
        "width": whole(1, 12),
        "dropout": real(0, 0.9),
    },
    "vgg": {"width": real(0.1, 4), "dropout": real(0, 0.9)},
    "baseline": {"epoch_share": real(0.1, 1)},
    "freezeout": {
        "scaling": st.sampled_from(["linear", "squared", "cubic"]),
        "scale_lr": st.booleans(),
        "t0": real(0.05, 1),
        "epoch_share": real(0.1, 1),
    },
}
FAMILIES = ("densenet", "wideresnet", "vgg")
METHODS = ("baseline", "freezeout")
REQUIRED = {
    "experiment": {"name"},
    "data": {"dataset"},
    "train": {"epochs", "batch_size"},
    "densenet": {"depth", "growth_rate"},
    "wideresnet": {"depth", "width"},
}
# Nonsense that these options happen to allow.
ALLOWED = {
    ("data", "dataset"): ["nonsense"],
    ("data", "shuffle"): [True],
    ("train", "lr"): [],
    ("train", "weight_decay"): [0.0],
    ("train", "momentum"): [0.0],
    ("wideresnet", "dropout"): [0.0],
    ("vgg", "dropout"): [0.0],
    ("experiment", "name"): ["nonsense"],
    ("train", "nesterov"): [True],
    ("train", "deterministic"): [True],
    ("freezeout", "scale_lr"): [True],
}


def bad(table: str, key: str) -> st.SearchStrategy:
    allowed = ALLOWED.get((table, key), [])
    return st.sampled_from([value for value in NONSENSE if repr(value) not in map(repr, allowed)])


@st.composite
def tables(draw, name: str) -> tuple[dict[str, Any], set[str]]:
    """A table of the config and its bad keys: values, unknown keys and keys left out."""
    options = GOOD[name]
    required = REQUIRED.get(name, set())
    given_keys = sorted(required | draw(st.sets(st.sampled_from(sorted(options)))))
    table = {key: draw(options[key]) for key in given_keys}
    # In a method's table a list is an axis of the grid.
    axes = draw(st.sets(st.sampled_from(given_keys))) if given_keys and name in METHODS else set()
    for key in sorted(axes):
        table[key] = [table[key], *draw(st.lists(options[key], max_size=2))]
    wrong = draw(st.sets(st.sampled_from(given_keys), max_size=3)) if given_keys else set()
    if draw(st.booleans()):
        wrong = set()
    for key in sorted(wrong):
        nonsense = draw(bad(name, key))
        within = key in axes and not isinstance(nonsense, list)
        table[key] = [*table[key], nonsense] if within else nonsense
    if draw(st.integers(0, 5)) == 0:
        unknown = draw(st.sampled_from(["epohcs", "зерно", "name2", "a b", ""]))
        table[unknown] = draw(st.sampled_from(NONSENSE))
        wrong.add(unknown)
    for key in sorted(required & draw(st.sets(st.sampled_from(sorted(options)), max_size=1))):
        if draw(st.booleans()):
            del table[key]
            wrong.add(key)
    return table, wrong


@st.composite
def configs(draw) -> tuple[str, dict[str, set[str]]]:
    """The text of a config, and the bad keys of each of its tables as messages name it."""
    lines: list[str] = []
    wrong: dict[str, set[str]] = {}
    for name in ("experiment", "data", "train"):
        table, bad_keys = draw(tables(name))
        lines += [f"[{name}]", *assignments(table)]
        wrong[f"[{name}]"] = bad_keys
    family = draw(st.sampled_from(FAMILIES))
    table, wrong["[model]"] = draw(tables(family))
    lines += ["[model]", *assignments({"name": family} | table)]
    for number in range(1, 1 + draw(st.integers(1, 3))):
        method = draw(st.sampled_from(METHODS))
        table, wrong[f"[[method]] {number}:"] = draw(tables(method))
        lines += ["[[method]]", *assignments({"name": method} | table)]
    return "\n".join(lines), wrong


def assignments(table: dict[str, Any]) -> list[str]:
    return [f"{toml(key)} = {toml(value)}" for key, value in table.items()]


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(assignments(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def load_text(folder, text: str) -> Experiment:
    path = folder / "generated.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def check(folder, text: str, wrong: dict[str, set[str]]) -> None:
    """Each bad key is named and no other; where there is none, the runs are as many as they are."""
    bad_keys = {f"{where} {written(key)} " for where, keys in wrong.items() for key in keys}
    if not bad_keys:
        experiment = load_text(folder, text)
        if fits(experiment):
            runs = expand(experiment, DATASET)
            assert len(runs) == (
                len(experiment.methods) * len(experiment.seeds) * experiment.repeats
            )
            assert len({run.id for run in runs}) == len(runs)
        else:
            with pytest.raises(UserError, match=r"last batch of one|epoch_share"):
                expand(experiment, DATASET)
        return
    with pytest.raises(UserError) as caught:
        load_text(folder, text)
    problems = [problem.partition("generated.toml: ")[2] for problem in caught.value.problems]
    for key in bad_keys:
        assert any(problem.startswith(key) for problem in problems), (key, problems)
    for problem in problems:
        assert any(problem.startswith(key) for key in bad_keys), (problem, bad_keys)


def written(key: str) -> str:
    return key if key.isascii() and key.isidentifier() else repr(key)


def fits(experiment: Experiment) -> bool:
    """Whether a good config fits the 200 images, which are always enough."""
    images = experiment.data.train_size or 200 - experiment.data.validation
    batch_size, epochs = experiment.train.batch_size, experiment.train.epochs
    steps = -(-images // batch_size) * epochs
    shares = [Fraction(str(method.epoch_share)) for method in experiment.methods]
    return images % batch_size != 1 and all(share * steps >= Fraction(1, 2) for share in shares)


@given(configs())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_config_is_valid_or_each_bad_key_is_reported(tmp_path_factory, config):
    check(tmp_path_factory.getbasetemp(), *config)


@pytest.mark.slow
@given(configs())
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_configs_are_valid_or_each_bad_key_is_reported(tmp_path_factory, config):
    check(tmp_path_factory.getbasetemp(), *config)


TOML_TEXT = st.text(alphabet="[]{}=.,\"'#\n abcdefgtrue01-_é\u0000", max_size=60)


@given(st.one_of(TOML_TEXT, st.text(max_size=60)))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_refused_without_a_traceback(tmp_path_factory, text):
    with pytest.raises(UserError):
        load_text(tmp_path_factory.getbasetemp(), text.encode("utf-8", "replace").decode())
