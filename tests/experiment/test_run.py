"""Runs and their ids."""

from dataclasses import replace

import pytest

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.methods import BaselineOptions, FreezeOutOptions


@pytest.fixture
def run(tiny) -> Run:
    return expand(load(tiny), open_synthetic("synthetic", 55, 20))[2]


def test_a_run_id_is_readable(run):
    assert run.id.startswith("densenet-10-4_synthetic_freezeout-linear-scaled-t0.30_seed0-")
    assert len(run.id.rsplit("-", 1)[1]) == 8


def test_the_id_covers_all_that_makes_a_run(run):
    changed = [
        replace(run, seed=1),
        replace(run, repeat=1),
        replace(run, data=run.data.replace(validation=9)),
        replace(run, data=run.data.replace(augment="none")),
        replace(run, data=run.data.replace(shuffle=True)),
        replace(run, data_used=replace(run.data_used, fingerprint="other")),
        replace(run, data_used=replace(run.data_used, classes=12)),
        replace(run, model=run.model.replace(reduction=0.6)),
        replace(run, train=run.train.replace(lr=0.2)),
        replace(run, train=run.train.replace(epochs=4)),
        replace(run, method=run.method.replace(t0=0.301)),
        replace(run, method=run.method.replace(scale_lr=False)),
    ]
    ids = {each.id for each in changed}
    assert len(ids) == len(changed)
    assert run.id not in ids


def test_the_id_does_not_depend_on_which_sets_were_asked_for(run):
    asked = replace(run, data=run.data.replace(dataset=("cifar10", "synthetic")))
    assert asked.id == run.id


def test_the_id_does_not_depend_on_options_at_their_defaults(run):
    """Pinned: if this changes, all results that people have are orphaned."""
    pinned = replace(run, data_used=replace(run.data_used, fingerprint="0"))
    assert pinned.id == "densenet-10-4_synthetic_freezeout-linear-scaled-t0.30_seed0-cbcd5b15"


def test_a_name_that_is_no_file_name_gives_one(run):
    odd = replace(run, data_used=replace(run.data_used, name="../my data/ü" * 30))
    assert "/" not in odd.id
    assert len(odd.id) < 150


def test_its_baseline_differs_in_method_alone(run):
    assert run.baseline_run == replace(run, method=BaselineOptions())
    assert run.baseline_run.baseline_run == run.baseline_run
    shorter = replace(run, method=run.method.replace(epoch_share=0.5))
    assert shorter.baseline_run == run.baseline_run


def test_steps_of_a_shorter_run_end_in_a_partial_epoch(run):
    shorter = replace(run, method=FreezeOutOptions(epoch_share=0.5))
    assert (run.steps_per_epoch, run.total_steps, run.epochs) == (5, 15, 3)
    assert (shorter.total_steps, shorter.epochs) == (8, 2)


def test_a_last_batch_of_one_image_is_refused(tiny):
    experiment = load(tiny, ["data.train_size=41"])
    with pytest.raises(UserError, match=r"BatchNorm cannot take: set data\.train_size = 40"):
        expand(experiment, open_synthetic("synthetic", 55, 20))


def test_all_that_does_not_fit_the_data_is_reported_at_once(tiny):
    with pytest.raises(UserError) as caught:
        expand(
            load(tiny, ["data.train_size=101", "data.test_size=99"]),
            open_synthetic("synthetic", 55, 20),
        )
    text = "\n".join(caught.value.problems)
    for message in ("asks for 101", "test_size = 99", "last batch of one"):
        assert message in text


def test_images_too_small_for_the_network_are_refused(tiny):
    dataset = open_synthetic("synthetic", 55, 20)
    small = replace(
        dataset, train_images=dataset.train_images[:, :3], test_images=dataset.test_images[:, :3]
    )
    with pytest.raises(UserError, match="at least 4 pixels per side, synthetic has 3x32"):
        expand(load(tiny), small)


def test_a_share_without_a_step_is_refused(tiny):
    tiny.write_text(tiny.read_text().replace("[1.0, 0.5]", "[1.0, 0.001]"))
    with pytest.raises(UserError, match="leaves no training step"):
        expand(load(tiny), open_synthetic("synthetic", 55, 20))


def test_the_id_of_larger_images_tells_by_how_much_they_are_shifted(run, monkeypatch):
    """A run under another rule is another run; without augmentation the rule does not matter."""
    large = replace(run, data_used=replace(run.data_used, image_shape=(64, 64, 3)))
    plain = replace(large, data=large.data.replace(augment="none"))
    before = large.id, plain.id
    monkeypatch.setattr("fobench.experiment.run.PIXELS_PER_PADDING", 1000)  # 4 for all, as it was
    large, plain = replace(large), replace(plain)
    assert large.id != before[0]
    assert plain.id == before[1]
    assert large.data_used.padding == 4
