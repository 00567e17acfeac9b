"""The generated sets are hard enough, and freezing too early costs accuracy."""

import numpy as np
import pytest

from fobench.data.synthetic import RECIPES
from fobench.evidence.results import read_results
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


@pytest.mark.parametrize("name", RECIPES)
def test_flipping_an_image_leaves_its_class(name):
    masks = RECIPES[name].masks
    assert (masks == masks[:, :, ::-1]).all()
    assert len({mask.tobytes() for mask in masks}) == len(masks) == 5


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_the_quick_profile_shows_what_freezing_does(fobench, tmp_path, network):
    """The whole baseline learns most, shorter ones less, and FreezeOut is not far from them."""
    assert fobench("run", f"quick/{network}", "--device", "cpu").exit_code == 0
    (results,), _ = read_results([tmp_path / "results" / f"quick-{network}"])
    summary = results.summary.assign(
        is_baseline=[method.is_baseline for method in results.summary["method"]]
    )
    line = summary[summary["is_baseline"]].sort_values("flops_saved")
    frozen = summary[~summary["is_baseline"]]
    assert 2 < line["error"].iloc[0] < 20
    assert line["error"].iloc[-1] > line["error"].iloc[0] + 4
    to_beat = np.interp(frozen["flops_saved"], line["flops_saved"], line["error"])
    assert (abs(frozen["error"] - to_beat) < 5).all()
    assert all(run.record["run"]["train"]["epochs"] >= 20 for run in results.runs)
