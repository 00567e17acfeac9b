"""Runs whose images do not fit on the device are those of images that do, bit for bit."""

import copy
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from fobench.activations.plan import STORE_NOTHING
from fobench.data import split
from fobench.data.npz import open_npz
from fobench.training.loop import train
from fobench.training.profiling import measure_profile
from fobench.training.state import Training
from tests.activations.small_runs import (
    CPU,
    DATASET,
    Unseen,
    augmented,
    learned,
    method,
    plan_of_all,
    same_weights,
    small_run,
)

STORE = {"precompute": True, "store": "float32"}


@pytest.fixture
def small(tiny):
    return replace(small_run(tiny, "vgg"), train=small_run(tiny, "vgg").train.replace(epochs=4))


@pytest.fixture
def in_file(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(
        path,
        train_images=DATASET.train_images,
        train_labels=DATASET.train_labels,
        test_images=DATASET.test_images,
        test_labels=DATASET.test_labels,
    )
    return open_npz(path, in_file=True)


def started(run, dataset=DATASET, place="device"):
    data = split.load(dataset, run.data_used, run.data.augment, CPU, place)
    plan = plan_of_all(run) if run.method.stores.precompute else STORE_NOTHING
    return Training(run, data, CPU, plan)


@pytest.mark.parametrize(
    ("augment", "options"),
    [("random", {}), ("random", {"views": 2}), ("random", {"views": 2, **STORE}), ("none", STORE)],
)
def test_a_run_is_the_same_wherever_its_images_are(small, in_file, augment, options):
    run = method(augmented(small, augment), **options)
    expected = started(run)
    rows = list(train(expected, Unseen()))
    for dataset in (DATASET, in_file):
        training = started(run, dataset, "host")
        assert learned(list(train(training, Unseen()))) == learned(rows)
        assert same_weights(training, expected)


def test_a_run_resumes_with_its_images_elsewhere(small, in_file):
    run = method(small, views=2, **STORE)
    expected = started(run)
    rows = list(train(expected, Unseen()))
    first = started(run)
    done = list(islice(train(first, Unseen()), 3))
    second = started(run, in_file, "host")
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert learned(done + list(train(second, Unseen()))) == learned(rows)
    assert same_weights(second, expected)


def test_a_profile_is_measured_on_images_that_are_not_on_the_device(small):
    data = split.load(DATASET, small.data_used, "random", CPU, "host")
    assert measure_profile(small, data, for_steps=20).pixels > 0
