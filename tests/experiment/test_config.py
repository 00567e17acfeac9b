"""Configs: read into runs, or refused with every mistake named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load, load_all
from fobench.experiment.expand import expand
from fobench.methods import METHODS
from fobench.models import FAMILIES


def problems_of(path, overrides=()) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    return caught.value.problems


def edit(path, old: str, new: str):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_config_becomes_frozen_options(tiny):
    experiment = load(tiny)
    model = experiment.model
    assert (experiment.name, model.name, model.depth, model.reduction) == (
        "tiny",
        "densenet",
        10,
        0.5,
    )
    assert experiment.data.dataset == ("synthetic",)
    assert experiment.train.lr == 0.1
    with pytest.raises(ValidationError):
        experiment.train.lr = 0.2


def test_lists_in_a_method_are_axes_of_a_grid(tiny):
    edit(tiny, "t0 = [0.3, 1.0]", "t0 = [0.3, 0.6]\nscale_lr = [true, false]")
    points = [(o.scale_lr, o.t0) for o in load(tiny).methods if o.name == "freezeout"]
    assert sorted(points) == [(False, 0.3), (False, 0.6), (True, 0.3), (True, 0.6)]


def test_a_method_named_twice_is_run_once(tiny):
    tiny.write_text(tiny.read_text() + '[[method]]\nname = "baseline"\n')
    assert [method.name for method in load(tiny).methods].count("baseline") == 2


def test_methods_alternate_within_a_seed(tiny):
    experiment = load(tiny, ["experiment.seeds=[0, 1]", "experiment.repeats=2"])
    runs = expand(experiment, open_synthetic("synthetic", 55, 20))
    assert [(run.seed, run.repeat) for run in runs[::4]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({run.id for run in runs}) == len(runs) == 16


def test_all_mistakes_are_reported_at_once(tiny):
    edit(tiny, "epochs = 3", "epohcs = 3\nlr = nan\nmomentum = true")
    edit(tiny, "depth = 10", "depth = 11")
    edit(tiny, 'scaling = "linear"', 'scaling = "quartic"')
    edit(tiny, "t0 = [0.3, 1.0]", "t0 = [0.3, 2]")
    edit(tiny, 'name = "tiny"', 'name = "../tiny"')
    text = "\n".join(problems_of(tiny))
    for message in (
        "[train] epohcs is not known: did you mean epochs?",
        "[train] epochs is missing",
        "[train] lr = nan: give a number above 0",
        "[train] momentum = true: give a number of at least 0 and at most 1",
        "[model] depth = 11: give 6·n + 4, such as 10 or 16",
        "[[method]] 2: scaling = 'quartic': give 'linear' or 'squared' or 'cubic'",
        "[[method]] 2: t0 = 2: give a number above 0 and at most 1",
        "[experiment] name = '../tiny'",
    ):
        assert message in text
    assert all(problem.startswith(str(tiny)) for problem in problems_of(tiny))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[train]", "[trian]", "table trian is not known: did you mean train?"),
        ("[train]", "[train", "not valid TOML"),
        ('name = "densenet"', 'name = "desnet"', "[model] name desnet is not known"),
        ('name = "freezeout"', "", "[[method]] 2: name is missing"),
        ('name = "freezeout"', "name = 3", "[[method]] 2: name = 3: give one of"),
        ("t0 = [0.3, 1.0]", "t0 = []", "[[method]] 2: t0 = []"),
        ("[model]", "[[model]]", "give a table [model]"),
        ("[[method]]", "[method]", "not valid TOML"),
        ("validation = 10", "validation = -1", "give a whole number of at least 0"),
        ("validation = 10", "validation = 1.5", "validation = 1.5: give a whole number"),
        ("validation = 10", "validation = 99999999999999999999", "give a whole number"),
        (
            'dataset = "synthetic"',
            "dataset = [3]",
            "dataset = [3]: give a string in quotes or a list",
        ),
        ("epochs = 3", "epochs = 3\nmomentum = 0", "Nesterov momentum needs more than 0"),
        ('name = "tiny"', 'name = "tiny"\nseeds = [1, 1]', "give each seed once"),
        ('scaling = "linear"\nt0 = [0.3, 1.0]', "t0 = 1e-200", "t0 = 1e-200: the first unit would"),
        ("epochs = 3", "epochs = 3\nlr = 1e39", "lr = 1e+39: give a number above 0 and at most"),
        ("epochs = 3", f"epochs = 1{'0' * 5000}", "not valid TOML"),
        ("epochs = 3", f"epochs = 0x1{'0' * 5000}", "something too long to show"),
        ("epochs = 3", "epochs" + ".a" * 5000 + " = 1", "something too long to show"),
        ("train_size = 45", "train_size = 1_000_000_000_000", "and at most 10000000"),
        ("t0 = [0.3, 1.0]", f"t0 = {[0.5] * 200}\nepoch_share = {[0.5] * 200}", "span 40000"),
    ],
)
def test_a_mistake_is_reported(tiny, old, new, message):
    assert message in "\n".join(problems_of(edit(tiny, old, new)))


@pytest.mark.parametrize(
    ("augment", "lines", "message"),
    [
        ("random", "precompute = true", 'set views, such as views = 4, or data.augment = "none"'),
        ("none", "views = 2", "views: they need augmented images; remove views"),
        ("none", 'store = "float32"', "store: nothing is stored without precompute = true"),
        ("none", 'budget = "4GB"', "budget: nothing is stored without precompute = true"),
        ("none", "plan = [[2, 1]]", "plan: nothing is stored without precompute = true"),
        ("none", 'precompute = true\nstore = "float64"', "store = 'float64': give 'float16' or"),
        (
            "none",
            'precompute = true\nbudget = "4 potatoes"',
            "budget = '4 potatoes': give",
        ),
        (
            "none",
            'precompute = true\nbudget = "0GB"',
            "budget = '0GB': give",
        ),
        ("none", "precompute = true\nplan = [2, 1]", "plan = [2, 1]: give a list of [whole number"),
        ("none", "precompute = true\nplan = []", "plan = []: give a list of [whole number"),
        ("none", "precompute = true\nplan = [[2, 0]]", "each of at least 1"),
        ("none", "precompute = true\nplan = [[2, 1, 3]]", "give a list of [whole number"),
        ("none", "precompute = true\nplan = [[3, 1], [2, 2]]", "in order of the epochs"),
        ("none", "precompute = true\nplan = [[2, 1], [2, 2]]", "in order of the epochs"),
        ("random", "views = 0", "views = 0: give a whole number of at least 1"),
    ],
)
def test_a_mistake_about_stores_is_reported(tiny, augment, lines, message):
    edit(tiny, "train_size = 45", f'train_size = 45\naugment = "{augment}"')
    edit(tiny, "t0 = [0.3, 1.0]", f"t0 = 0.3\n{lines}")
    assert message in "\n".join(problems_of(tiny))


def test_an_option_that_is_wrong_twice_is_reported_twice(tiny):
    edit(tiny, "train_size = 45", 'train_size = 45\naugment = "none"')
    edit(tiny, "t0 = [0.3, 1.0]", 't0 = 0.3\nbudget = "1"\nplan = [[3, 1], [2, 1]]')
    text = "\n".join(problems_of(tiny))
    for message in (
        "[[method]] 2: budget = '1': give \"auto\" or a size",
        "[[method]] 2: budget: nothing is stored without precompute = true",
        "[[method]] 2: plan = [[3, 1], [2, 1]]: give [epoch, cut] in order",
        "[[method]] 2: plan: nothing is stored without precompute = true",
    ):
        assert message in text


def test_a_plan_is_no_axis_of_a_grid(tiny):
    edit(tiny, "train_size = 45", 'train_size = 45\naugment = "none"')
    edit(tiny, "t0 = [0.3, 1.0]", "t0 = [0.3, 0.6]\nprecompute = true\nplan = [[2, 1], [3, 2]]")
    plans = [method.plan for method in load(tiny).methods if method.name == "freezeout"]
    assert plans == [((2, 1), (3, 2))] * 2


def test_options_of_stores_change_no_run_without_them(tiny):
    """Runs of before there were stores keep their ids; those with a store know the one without."""
    old = expand(load(tiny), open_synthetic("synthetic", 55, 20))[2]
    assert old.id == "densenet-10-4_synthetic_freezeout-linear-scaled-t0.30_seed0-" + old.id[-8:]
    edit(tiny, "t0 = [0.3, 1.0]", "t0 = 0.3\nviews = 2\nprecompute = [false, true]")
    control, stored = expand(load(tiny), open_synthetic("synthetic", 55, 20))[2:]
    assert (control.uncached_run, stored.uncached_run) == (None, control)
    assert stored.baseline_run == old.baseline_run == control.baseline_run


def test_a_bad_option_does_not_hide_the_others(tiny):
    edit(tiny, "depth = 10\ngrowth_rate = 4", "depth = 11\ngrowth_rate = 0")
    edit(tiny, "epochs = 3", "epochs = 0\nmomentum = 0")
    text = "\n".join(problems_of(tiny))
    for message in ("depth = 11", "growth_rate = 0", "epochs = 0", "momentum = 0.0"):
        assert message in text


def test_missing_tables_are_reported(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("")
    text = "\n".join(problems_of(path))
    for message in ("[experiment] is missing", "[data] is missing", "[[method]]"):
        assert message in text


def test_a_file_that_is_not_there_is_reported(tmp_path):
    assert "cannot be read" in problems_of(tmp_path / "no.toml")[0]


def test_options_can_be_overridden(tiny):
    experiment = load(tiny, ["train.epochs=7", "data.dataset=cifar10", "experiment.seeds=[4, 5]"])
    assert experiment.train.epochs == 7
    assert experiment.data.dataset == ("cifar10",)
    assert experiment.seeds == (4, 5)


@pytest.mark.parametrize(
    "name", ["20240101", "2024-01-01", "true", "1e5", "0x10", "1_000", "nan", "inf", "07", "1.5"]
)
def test_a_name_on_the_command_line_can_look_like_something_else(tiny, name):
    """What the option is declared to be decides, with or without quotes; spaces are not of it."""
    given = [f"experiment.name={name}", f"data.dataset = {name} "]
    experiment = load(tiny, given)
    assert (experiment.name, experiment.data.dataset) == (name, (name,))
    assert load(tiny, [f'experiment.name="{name}"']).name == name
    assert load(tiny, [f'data.dataset=["{name}", "b"]']).data.dataset == (name, "b")


def test_in_a_file_a_name_needs_quotes(tiny):
    edit(tiny, '"tiny"', "20240101")
    assert "[experiment] name = 20240101: give a string in quotes" in "\n".join(problems_of(tiny))


def test_numbers_on_the_command_line_stay_numbers(tiny):
    given = ["train.lr=1", "train.nesterov=false", "train.epochs=0x10", "model.depth=16"]
    experiment = load(tiny, given)
    train, model = experiment.train, experiment.model
    assert (train.lr, train.nesterov, train.epochs, model.depth) == (1.0, False, 16, 16)


def test_a_network_can_be_chosen_after_its_options(tiny):
    edit(tiny, "depth = 10\ngrowth_rate = 4\n", "")
    experiment = load(tiny, ["model.depth=16", "model.width=1", "model.name=wideresnet"])
    assert (experiment.model.name, experiment.model.depth) == ("wideresnet", 16)


def test_zero_has_no_sign(tiny):
    """Else the same training would have two run ids."""
    runs = [
        expand(load(tiny, [f"train.weight_decay={zero}"]), open_synthetic("synthetic", 55, 20))
        for zero in ("0.0", "-0.0", "0")
    ]
    assert len({tuple(run.id for run in each) for each in runs}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.dataset=[1]", "dataset = [1]: give a string in quotes or a list"),
        ("model.name=20240101", "[model] name 20240101 is not known"),
        ("model.name=true", "[model] name true is not known"),
        ("data.augment=true", "augment = 'true': give 'random' or 'none'"),
        ("experiment.name=[a]", "name = '[a]'"),
        ("train.epochs=2024-01-01", "epochs = '2024-01-01': give a whole number"),
        ("train.lr=nan", "lr = nan: give a number above 0"),
        ("train.nesterov=1", "nesterov = 1: give true or false"),
        ("epochs=3", "give table.key=value"),
        ("train.epochs", "give table.key=value"),
        ("train.epoch=3", "did you mean epochs?"),
        ("train.epochs=many", "epochs = 'many': give a whole number"),
        ("method.t0=0.5", "choose among them with --only"),
    ],
)
def test_a_wrong_override_is_reported(tiny, text, message):
    assert message in "\n".join(problems_of(tiny, [text]))


def test_two_experiments_of_one_name_are_refused(tiny):
    with pytest.raises(UserError, match="2 of the configs are named tiny"):
        load_all([tiny, tiny])


@pytest.mark.parametrize("path", ["quick", "cpu", "paper"])
def test_the_configs_of_the_project_are_valid(path):
    configs = sorted((Path(__file__).parents[2] / "configs" / path).glob("*.toml"))
    experiments = load_all(configs)
    assert [each.name for each in experiments] == [f"{path}-{config.stem}" for config in configs]


@pytest.mark.parametrize("registry", [METHODS, FAMILIES])
def test_registries_go_by_the_names_that_options_have(registry):
    assert all(options.name == name for name, options in registry.items())
