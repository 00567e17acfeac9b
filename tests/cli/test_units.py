"""What a network is cut into, as a table; and a config for a network and images of one's own."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from fobench.cli.units import seconds_of_units
from fobench.experiment.config import load
from tests.costs.test_run_time import profile
from tests.models.user_files import SOURCE, write_networks

CONFIG = """
[experiment]
name = "mine"
[data]
dataset = "./images.npz"
[model]
name = "./mynet.py:Net"
[train]
epochs = 2
batch_size = 10
[[method]]
name = "baseline"
"""


@pytest.fixture
def images(tmp_path):
    """40 training and 20 test images of 16 pixels, 4 classes."""
    return write_images(tmp_path, (16, 16, 3))


def write_images(folder, shape, name="images.npz"):
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("test", 20)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 4
    np.savez(folder / name, **arrays)
    return folder / name


@pytest.fixture
def config(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    (tmp_path / "mine.toml").write_text(CONFIG)
    return tmp_path / "mine.toml"


def rows_of(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_the_table_names_units_and_their_modules_with_parameters_and_costs(
    fobench, config, tmp_path
):
    ran = fobench("units", config, "-o", "units.csv")
    assert ran.exit_code == 0, ran.output
    head, names, *lines = ran.stdout.splitlines()
    assert head == "Net (mynet.py) on images: 4 units"
    assert names.split()[:3] == ["unit", "modules", "parameters"]
    assert [line.split()[:2] for line in lines[:4]] == [
        ["0", "stem"], ["1", "first"], ["2", "second"], ["3", "fc"]
    ]  # fmt: skip
    assert "not measured yet; give --profile" in lines[4]
    assert lines[5] == "units.csv"
    rows = rows_of(tmp_path / "units.csv")
    assert [row["modules"].split() for row in rows][1:3] == [["first"], ["second"]]
    assert {"dropout", "fc"} <= set(rows[3]["modules"].split())
    # 3·4·9 + 4; two blocks of a convolution without bias and a norm; 4·4 + 4.
    assert [int(row["parameters"]) for row in rows] == [112, 152, 152, 20]
    # Multiplications and additions of 64 pixels in each convolution.
    assert [int(row["flops"]) for row in rows[:3]] == [2 * 27 * 4 * 64, *2 * [2 * 36 * 4 * 64]]
    assert int(rows[0]["activation_bytes"]) == 4 * 64 * 4
    seconds = ("forward_seconds", "saved_seconds", "step_seconds")
    assert all(row[each] == "" for row in rows for each in seconds)


def test_the_table_of_a_family_names_the_classes_of_its_units(fobench, tiny, tmp_path):
    ran = fobench("units", tiny, "-o", "units.csv")
    assert ran.exit_code == 0, ran.output
    rows = rows_of(tmp_path / "units.csv")
    assert ran.stdout.startswith("DenseNet-BC 10-4 on synthetic: 7 units")
    assert (rows[0]["name"], rows[0]["modules"], rows[-1]["name"]) == ("conv", "Conv2d", "head")


def test_units_given_by_hand_and_grey_images_are_shown_with_their_modules(
    fobench, config, tmp_path
):
    write_images(tmp_path, (16, 16))
    ran = fobench("units", config, "--set", 'model.units=["stem", "second"]', "-o", "by_hand.csv",
                  "--set", "model.name=./mynet.py:Colours")  # fmt: skip
    assert ran.exit_code == 0, ran.output
    rows = rows_of(tmp_path / "by_hand.csv")
    assert [row["modules"] for row in rows] == ["stem", "first second", "dropout fc"]


def test_the_seconds_of_a_unit_are_of_its_forward_pass_and_of_what_freezing_it_spares():
    """Of a batch; the head never freezes."""
    measured = replace(profile(0.008, 0.005, 0.004), forward=(0.0001, 0.0002, 0.0003))
    rows = seconds_of_units(measured, batch_size=10, units=3)
    assert [row["forward_seconds"] for row in rows] == pytest.approx([0.001, 0.002, 0.003])
    assert [row["saved_seconds"] for row in rows[:2]] == pytest.approx([0.003, 0.001])
    assert [row["step_seconds"] for row in rows[:2]] == [0.005, 0.004]
    assert rows[2]["saved_seconds"] is rows[2]["step_seconds"] is None
    assert all(set(row.values()) == {None} for row in seconds_of_units(None, 10, units=3))


@pytest.mark.slow
def test_the_seconds_are_measured_kept_and_shown(fobench, config, tmp_path):
    ran = fobench("units", config, "--profile", "--device", "cpu", "-o", "units.csv")
    assert ran.exit_code == 0, ran.output
    assert "not measured" not in ran.output
    assert "a step of 10 images with nothing frozen: " in ran.stdout
    rows = rows_of(tmp_path / "units.csv")
    assert all(float(row["step_seconds"]) > 0 for row in rows[:-1])
    assert all(float(row["forward_seconds"]) > 0 for row in rows)
    assert rows[-1]["step_seconds"] == "", "the head never freezes"
    assert list(tmp_path.glob("results/mine/*profile*")), "kept for predictions"
    again = fobench("units", config, "--device", "cpu", "-o", "again.csv")
    assert again.exit_code == 0, again.output
    assert rows_of(tmp_path / "again.csv") == rows


@pytest.mark.parametrize("name", ["Net", "Tokens", "small_resnet"])
def test_init_writes_a_config_for_a_network_and_images_that_trains(fobench, config, name):
    """With BatchNorm by SGD, without by AdamW; a stem for small images where there is one."""
    ran = fobench("init", "--model", f"./mynet.py:{name}", "--data", "./images.npz")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.strip() == f"{name}.toml"
    path = config.with_name(f"{name}.toml")
    written = load(path)
    assert written.model.name == f"./mynet.py:{name}"
    assert written.train.optimizer == ("adamw" if name == "Tokens" else "sgd")
    assert written.model.stem_stride == (None if name == "Tokens" else 1)
    methods = [method.name for method in written.methods]
    assert methods.count("baseline") == 6
    assert any(method.stores.precompute for method in written.methods)
    listed = fobench("units", path)
    assert listed.exit_code == 0, listed.output
    if name == "Tokens":
        fewer = ("--set", "train.epochs=2", "--set", "experiment.seeds=[0]")
        fewer += ("--set", "train.warmup_epochs=0.25", "--device", "cpu")
        trained = fobench("run", path, *fewer, "--only", "freezeout*t0.50")
        assert trained.exit_code == 0, trained.output


def test_init_shuffles_what_is_sorted_by_class(fobench, config):
    """As folders are, whose last images, held out for validation, would all be of one class."""
    content = dict(np.load(config.with_name("images.npz")))
    order = np.argsort(content["train_labels"], kind="stable")
    content |= {key: content[key][order] for key in ("train_images", "train_labels")}
    np.savez(config.with_name("sorted.npz"), **content)
    ran = fobench("init", "--model", "./mynet.py:Net", "--data", "./sorted.npz")
    assert ran.exit_code == 0, ran.output
    assert load(config.with_name("Net.toml")).data.shuffle
    text = config.with_name("Net.toml").read_text()
    assert "# They are sorted by class.\nshuffle = true\n" in text
    listed = fobench("units", "Net.toml")
    assert listed.exit_code == 0, listed.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("quick/vgg", "--image-size", "8"), "--image-size: it is for --data"),
        (("--model", "./mynet.py:Net"), "give NAME, or both --model and --data"),
        (("--data", "./images.npz"), "give NAME, or both --model and --data"),
        (("quick/vgg", "--model", "vgg", "--data", "synthetic"), "give NAME, or both"),
        (("--model", "./mynet.py:Nett", "--data", "./images.npz"), "did you mean Net"),
        (("--model", "./none.py:Net", "--data", "./images.npz"), "there is no such file"),
        (("--model", "resnet18", "--data", "./images.npz"), "resnet18"),
        (("--model", "./mynet.py:Net", "--data", "./none.npz"), "none.npz not found"),
        (("--model", "./mynet.py:Net", "--data", "./images.npz", "-o", "é.toml"), "another name"),
    ],
)
def test_what_init_cannot_write_is_reported(fobench, config, words, message):
    before = sorted(config.parent.iterdir())
    ran = fobench("init", *words)
    assert ran.exit_code == 2, ran.output
    assert message in ran.output
    assert "Traceback" not in ran.output
    assert [each for each in sorted(config.parent.iterdir()) if each.suffix] == before


def test_init_is_given_the_options_that_a_constructor_needs(fobench, config):
    source = SOURCE.replace("num_classes, width=4", "num_classes, width, names, *")
    write_networks(config.parent, source=source)
    words = ("init", "--model", "./mynet.py:Net", "--data", "./images.npz")
    asked = fobench(*words)
    assert asked.exit_code == 2
    assert "or --set 'model.options={width=…}'" in asked.output
    given = "model.options={width = 3, names = {'a b' = [1.5, true]}}"
    ran = fobench(*words, "--set", given, "--set", "model.stem_stride=1")
    assert ran.exit_code == 0, ran.output
    written = load(config.with_name("Net.toml")).model
    assert written.options == {"width": 3, "names": {"a b": [1.5, True]}}
    assert written.stem_stride == 1
    assert fobench("units", "Net.toml").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "model.options={}"), "--set: it is for --model"),
        (("--set", "train.epochs=3"), "give options of [model] alone"),
        (("--set", "model.widht=3"), "widht is not known"),
        (("--set", "model.name=densenet"), "give the network as --model alone"),
    ],
)
def test_init_takes_options_of_its_network_alone(fobench, config, words, message):
    network = () if "for --model" in message else ("--model", "./mynet.py:Net")
    ran = fobench("init", *network, *(("--data", "./images.npz") if network else ()), *words)
    assert ran.exit_code == 2, ran.output
    assert message in ran.output


def test_methods_that_freeze_need_two_units_that_train(fobench, config):
    """Told before the baselines are trained; these alone can be."""
    source = SOURCE.replace(
        "        self.fc = ", "        self.requires_grad_(False)\n        self.fc = "
    )
    assert source != SOURCE
    config.with_name("mynet.py").write_text(source)
    text = config.read_text()
    config.write_text(text + '[[method]]\nname = "freezeout"\n')
    ran = fobench("run", config, "--device", "cpu")
    assert ran.exit_code == 2, ran.output
    assert "of its units fc alone has parameters that require gradients" in ran.output
    assert not list(config.parent.glob("results/mine/*seed0*"))
    config.write_text(text)
    assert fobench("run", config, "--device", "cpu").exit_code == 0
