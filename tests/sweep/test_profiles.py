"""Profiles in a sweep: when one is measured, and what runs record of it."""

import json

import pytest
import torch

from fobench.machine.lock import machine_lock
from fobench.records.experiments import read_experiment
from fobench.sweep import loop, profiles
from fobench.training import profiling


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.0)


@pytest.fixture
def worth_it(monkeypatch):
    monkeypatch.setattr(profiles, "MIN_STEPS", 1)


def predictions(results) -> list[dict]:
    runs, _ = read_experiment(results / "tiny")
    return [run.record["predictions"] for run in runs]


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.mark.usefixtures("worth_it")
def test_each_run_records_what_the_profile_predicts(fobench, tiny, results):
    assert fobench("run", tiny).exit_code == 0
    [path] = (results / "tiny").glob("profile-*.json")
    whole, half, early, never = [each["profile"] for each in predictions(results)]
    assert {each["file"] for each in (whole, half, early, never)} == {path.name}
    assert whole["saved_percent"] == never["saved_percent"] == 0
    assert half["saved_percent"] == pytest.approx(100 * (1 - 8 / 15), abs=5)  # a short step less
    assert early["seconds"] < whole["seconds"] == early["baseline_seconds"]
    steps = json.loads(path.read_text())["profile"]["steps"]
    assert whole["step_seconds"] == [step["median"] for step in steps]


def test_a_short_sweep_measures_none_but_reads_a_kept_one(fobench, tiny, results):
    assert fobench("run", tiny, "--only", "baseline").exit_code == 0
    assert [each["profile"] for each in predictions(results)] == [None, None]
    assert fobench("predict", tiny).exit_code == 0
    assert fobench("run", tiny).exit_code == 0
    assert [each["profile"] is None for each in predictions(results)] == [True, True, False, False]


@pytest.mark.usefixtures("worth_it")
def test_beside_other_work_none_is_measured(fobench, tiny, results):
    assert fobench("run", tiny, "--untimed", "--only", "baseline").exit_code == 0
    assert [each["profile"] for each in predictions(results)] == [None, None]


@pytest.mark.usefixtures("worth_it")
def test_a_close_time_limit_leaves_no_time_for_one(fobench, tiny, results):
    words = ("run", tiny, "--only", "baseline", "--time-limit")
    assert fobench(*words, "9m").exit_code == 0
    assert [each["profile"] for each in predictions(results)] == [None, None]


@pytest.mark.usefixtures("worth_it")
def test_several_jobs_are_predicted_with_the_threads_of_a_timed_run(fobench, tiny, monkeypatch):
    """Measured alone, before the first starts; or not at all if others share the machine."""
    threads, given = [2], []
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)

    def take(sweep, _):
        given.extend(sweep.tasks)
        return []

    monkeypatch.setattr(loop, "train_at_once", take)
    with machine_lock(shared=True):
        fobench("run", tiny, "--jobs", 2, "--only", "t0.30")
    assert given[0].profile is None
    threads.append(2)
    fobench("run", tiny, "--jobs", 2, "--only", "t0.30")
    assert given[1].profile.threads == 2
    assert threads[-1] == 1


@pytest.mark.usefixtures("worth_it")
def test_without_memory_for_a_profile_the_runs_are_trained(
    fobench, tiny, results, monkeypatch, caplog
):
    def no_memory(*_):
        raise torch.OutOfMemoryError("too much was asked for")

    monkeypatch.setattr(profiles, "measure_profile", no_memory)
    assert fobench("run", tiny, "--only", "baseline").exit_code == 0
    assert "tiny has no profile: out of memory: lower train.batch_size" in caplog.text
    assert "(too much was asked for)" in caplog.text
    assert [each["profile"] for each in predictions(results)] == [None, None]


@pytest.mark.usefixtures("worth_it")
def test_a_damaged_profile_is_told_before_anything_is_trained(fobench, tiny, results):
    fobench("predict", tiny)
    [path] = (results / "tiny").glob("profile-*.json")
    path.write_text("{}")
    ran = fobench("run", tiny)
    assert ran.exit_code == 2
    assert f"{path.relative_to(results.parent)} does not hold a valid profile" in ran.output
    assert not list((results / "tiny").glob("*/run.json"))


def test_drift_of_the_machine_is_told(fobench, tiny, monkeypatch, caplog):
    monkeypatch.setattr(profiles, "DRIFT_PERCENT", 0.0)
    fobench("predict", tiny)
    assert "the speed of the machine changed" in caplog.text
