"""The generated set is what the design asks for: hard enough, and dear to freeze too early."""

import pytest

from fobench.records.experiments import read_experiment

HARDNESS = """
[experiment]
name = "hardness"

[data]
dataset = "synthetic"
train_size = 4000
test_size = 2000

[model]
{model}

[train]
batch_size = 50
{train}

[[method]]
name = "baseline"

[[method]]
name = "freezeout"
scaling = "linear"
t0 = 0.1
"""
NETWORKS = {
    "densenet": ('name = "densenet"\ndepth = 16\ngrowth_rate = 8', "epochs = 8"),
    "wideresnet": ('name = "wideresnet"\ndepth = 16\nwidth = 1', "epochs = 8"),
    "vgg": ('name = "vgg"\nwidth = 0.25\ndropout = 0.0', "epochs = 14\nlr = 0.02"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "train"), NETWORKS.values(), ids=NETWORKS)
def test_small_networks_learn_it_in_part_and_early_freezing_costs(fobench, tmp_path, model, train):
    config = tmp_path / "hardness.toml"
    config.write_text(HARDNESS.format(model=model, train=train))
    assert fobench("run", config, "--device", "cpu").exit_code == 0
    found, _ = read_experiment(tmp_path / "results" / "hardness")
    errors = {run.record["run"]["method"]["name"]: run.epochs[-1].test_error for run in found}
    assert 10 < errors["baseline"] < 35
    assert errors["freezeout"] > errors["baseline"] + 5
