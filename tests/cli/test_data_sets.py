"""Data sets at the command line: sorted, unusual, and in a home folder that there is not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fobench.data.find import open_first
from fobench.data.split import load as put_on_device
from fobench.experiment.config import load
from fobench.experiment.expand import dataset_title
from fobench.sweep.plan import plan_all
from tests.cli.test_commands import imported_by

SORTED = np.repeat(np.arange(10), 40)


def write_set(path: Path, train_labels: np.ndarray, **others: np.ndarray) -> None:
    """Images whose brightness tells their class, test images in no order."""
    random = np.random.default_rng(0)
    arrays = dict(others)
    for split, labels in (("train", train_labels), ("test", random.permutation(SORTED[::2]))):
        noise = random.integers(0, 60, (len(labels), 8, 8, 3))
        arrays[f"{split}_images"] = (noise + 18 * labels[:, None, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez(path, **arrays)


@pytest.fixture
def sorted_set(fobench, tiny, tmp_path) -> tuple[str | Path, ...]:
    """The words to run the tiny experiment on a set sorted by class."""
    write_set(tmp_path / "mine.npz", SORTED)
    changes = ("data.dataset=./mine.npz", "data.train_size=200", "data.validation=100")
    options = [word for change in changes for word in ("--set", change)]
    return ("run", tiny, *options, "--set", "train.epochs=1")


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_sorted_set_is_a_mistake_that_names_the_missing_classes(fobench, sorted_set, more):
    ran = fobench(*sorted_set, *more)
    assert ran.exit_code == 2
    assert "Error: tiny: [data] mine seems to be sorted by class" in ran.output
    assert "have no image of 5 of 10 classes (5, 6, 7, 8, 9)" in ran.output
    assert "data.shuffle = true" in ran.output


def test_a_dry_run_checks_the_order_without_torch(sorted_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*map(str, sorted_set), "--set", "data.shuffle=true", "--dry-run"]
    assert not imported_by(*words) & {"torch", "pandas", "matplotlib"}


def test_shuffled_it_trains_and_validates_on_all_classes(fobench, sorted_set, tmp_path):
    assert fobench(*sorted_set, "--set", "data.shuffle=true").exit_code == 0
    assert "augmentation: random, shuffled" in fobench("report", "results/tiny").output
    assert len(list(tmp_path.glob("results/tiny/*/run.json"))) == 4
    overrides = [word for word in sorted_set[2:] if word != "--set"]
    overrides[0] = f"data.dataset={tmp_path / 'mine.npz'}"
    experiment = load(sorted_set[1], [*overrides, "data.shuffle=true"])
    (plan,) = plan_all([experiment], tmp_path, None)
    parts = put_on_device(plan.dataset, plan.runs[0].data_used, "none", torch.device("cpu"))
    assert len(parts.train.labels) == 200
    assert len(parts.validation.labels) == 100
    for part in (parts.train, parts.validation):
        assert part.labels.unique().tolist() == list(range(10))


def test_what_is_unusual_about_a_set_is_said_once(fobench, tiny, tmp_path, caplog):
    """By a run, a dry run and the list of sets; two experiments share the set."""
    labels = np.arange(80) % 9 + 1
    images, of_images = np.zeros((5, 8, 8, 3), np.uint8), np.zeros(5, int)
    write_set(tmp_path / "mine.npz", labels, val_images=images, val_labels=of_images)
    other = tmp_path / "other.toml"
    other.write_text(tiny.read_text().replace('"tiny"', '"other"'))
    notes = (
        "its file's val_images, val_labels are not used: validation images are held out of the "
        "training images (data.validation)",
        "with test images, but without a training image: 1 of 10 classes (0)",
    )
    words = ("--set", "data.dataset=./mine.npz", "--set", "train.epochs=1", "--only", "_baseline_")
    for more in ((), ("--dry-run",)):
        caplog.clear()
        assert fobench("run", tiny, other, *words, *more).exit_code == 0
        for note in notes:
            assert caplog.text.count(f"mine: {note}") == 1
    listed = fobench("data", "--data-root", tmp_path).output
    for note in notes:
        assert listed.count(note) == 1


@pytest.mark.parametrize("words", [("data",), ("data", "cifar10")])
def test_without_a_home_the_folder_of_data_must_be_given(fobench, homeless, tmp_path, words):
    ran = fobench(*words)
    assert ran.exit_code == 2
    assert ran.output == (
        "Error: the default folder of data sets, ~/.cache/fobench, needs a home folder, and this "
        "user has none: set HOME or FOBENCH_DATA, or give --data-root\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("cifar10", "set HOME or FOBENCH_DATA, or give --data-root"),
        ("~/x.npz", "~/x.npz: this user has no home folder"),
        ("~nosuch/x.npz", "~nosuch/x.npz: there is no user nosuch with a home folder"),
    ],
)
def test_a_set_in_a_home_that_there_is_not(fobench, homeless, tiny, tmp_path, dataset, message):
    """A file in a folder that is named ~ is not taken for it."""
    for folder in ("~", "~/.cache/fobench", "~nosuch"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("x", "cifar10"):
            write_set(tmp_path / folder / f"{name}.npz", SORTED)
    ran = fobench("run", tiny, "--dry-run", "--set", f"data.dataset={dataset}")
    assert ran.exit_code == 2
    assert message in ran.output


def test_generated_sets_need_no_home(fobench, homeless, tiny, tmp_path):
    words = ("run", tiny, "--only", "_baseline_", "--set", "train.epochs=1")
    asked = 'data.dataset=["cifar10", "synthetic"]'
    assert fobench(*words).exit_code == 0
    assert fobench(*words, "--set", asked).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "tiny.toml"]


def test_a_home_in_an_option_is_expanded_or_refused(fobench, tiny, tmp_path, monkeypatch):
    """Shells do not expand ~ in --results=~/mine."""
    words = ("run", tiny, "--only", "_baseline_", "--set", "train.epochs=1")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert fobench(*words, "--results=~/mine").exit_code == 0
    assert list(tmp_path.glob("me/mine/tiny/*/run.json"))
    assert fobench("schema", "--output=~/schema.json").exit_code == 0
    assert (tmp_path / "me" / "schema.json").exists()
    for refused in ((*words, "--results=~nosuch/mine"), ("schema", "--output=~nosuch/x.json")):
        ran = fobench(*refused)
        assert ran.exit_code == 2
        assert "there is no user nosuch" in ran.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me", "tiny.toml"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of images of ten classes, in several sizes."""
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for label in range(10):
            (tmp_path / "mine" / part / f"class {label}").mkdir(parents=True)
            for number in range(count):
                noise = random.integers(0, 60, (20 + number, 24, 3)) + 18 * label
                path = tmp_path / "mine" / part / f"class {label}" / f"{number}.png"
                Image.fromarray(noise.astype(np.uint8)).save(path)
    return tmp_path / "mine"


def test_a_folder_of_images_is_trained_on(fobench, tiny, folder, tmp_path, caplog):
    caplog.set_level("INFO")
    changes = ("dataset=./mine", "image_size=16", "shuffle=true", "train_size=45", "test_size=20")
    options = [word for change in changes for word in ("--set", f"data.{change}")]
    words = ("run", tiny, *options, "--only", "_baseline_", "--data-root", tmp_path / "root")
    assert fobench(*words).exit_code == 0
    assert "images: 0.1 MB in memory" in caplog.text
    assert "tiny on mine-16px: 1 of 1 runs to do" in caplog.text
    assert len(list(tmp_path.glob("results/tiny/*_mine-16px_*/run.json"))) == 1
    assert len(list((tmp_path / "root").glob("mine-16px-*.npz"))) == 1
    assert "mine-16px" in fobench("report", "results/tiny").output


@pytest.mark.parametrize("inside", [".", "./", "train/.."])
def test_a_folder_of_images_is_named_by_its_place_too(tiny, folder, tmp_path, monkeypatch, inside):
    """Such as "." for the folder that one is in; the title says of none that it was not found."""
    monkeypatch.chdir(folder)
    dataset = open_first([inside], tmp_path / "root", image_size=16)
    assert dataset.name == "mine-16px"
    assert dataset_title(dataset.name, [inside]) == "mine-16px"


def test_for_a_folder_here_the_message_says_how_to_name_it(fobench, tiny, folder):
    ran = fobench("run", tiny, "--set", "data.dataset=mine", "--dry-run")
    assert ran.exit_code == 2
    assert "for the folder of that name here, give ./mine" in ran.output


def test_a_folder_is_prepared_and_checked_without_torch(tiny, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = ("dataset=./mine", "image_size=16", "shuffle=true", "train_size=45", "test_size=20")
    options = [word for change in changes for word in ("--set", f"data.{change}")]
    loaded = imported_by("run", str(tiny), *options, "--dry-run", "--data-root", "root")
    assert not loaded & {"torch", "pandas", "matplotlib"}


def test_without_a_size_images_of_several_are_a_mistake(fobench, tiny, folder):
    ran = fobench("run", tiny, "--set", "data.dataset=./mine", "--dry-run")
    assert ran.exit_code == 2
    assert "images differ in size" in ran.output
    assert "set data.image_size" in ran.output


def test_an_image_size_makes_other_runs_and_by_default_none(tiny, tmp_path):
    plain = plan_all([load(tiny)], tmp_path, None)[0].runs[0]
    sized = plan_all([load(tiny, ["data.image_size=16"])], tmp_path, None)[0].runs[0]
    assert sized.id != plain.id
    assert sized.data_used.image_shape == (16, 16, 3)
    assert "_synthetic-16px_" in sized.id
