"""Which runs of a sweep are trained where, and how long the rest will take."""

import json
import re
from dataclasses import replace

import pytest

from fobench.costs.flops import total_flops
from fobench.experiment.config import load
from fobench.records.experiments import read_experiment
from fobench.records.runs import read_record
from fobench.sweep.plan import plan_all
from fobench.sweep.shard import Shard
from fobench.sweep.time_left import Pace, format_duration


@pytest.fixture
def experiments(tiny, tmp_path):
    """Two experiments of three and two seeds, each with repeats: five blocks."""
    other = tmp_path / "other.toml"
    other.write_text(tiny.read_text().replace('"tiny"', '"other"'))
    return [
        load(tiny, ["experiment.seeds=[0, 1, 2]", "experiment.repeats=2"]),
        load(other, ["experiment.seeds=[0, 5]"]),
    ]


def chosen(experiments, tmp_path, **options) -> list[str]:
    plans = plan_all(experiments, tmp_path / "results", tmp_path, **options)
    return [f"{plan.experiment.name} {run.id}" for plan in plans for run in plan.chosen]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_shards_share_all_runs_and_none_twice(experiments, tmp_path, count):
    shards = [
        chosen(experiments, tmp_path, shard=Shard(number + 1, count)) for number in range(count)
    ]
    everything = chosen(experiments, tmp_path)
    assert sorted(run for shard in shards for run in shard) == sorted(everything)
    assert len(everything) == 4 * 3 * 2 + 4 * 2
    assert sum(not shard for shard in shards) == max(0, count - 5)


def test_runs_that_are_paired_stay_in_one_shard(experiments, tmp_path):
    for number in (1, 2, 3):
        for plan in plan_all(experiments, tmp_path, tmp_path, shard=Shard(number, 3)):
            ids = {run.id for run in plan.chosen}
            assert {run.baseline_run.id for run in plan.chosen} <= ids
            repeats = {(run.seed, run.repeat) for run in plan.chosen}
            seeds = {seed for seed, _ in repeats}
            both = range(plan.experiment.repeats)
            assert repeats == {(seed, repeat) for seed in seeds for repeat in both}


def test_a_shard_is_trained_and_the_figures_know_the_rest(fobench, tiny, tmp_path):
    words = ("run", tiny, "--set", "experiment.seeds=[0, 1]", "--set", "train.epochs=1")
    assert fobench(*words, "--shard", "2/2", "--device", "cpu").exit_code == 0
    done = [json.loads(path.read_text()) for path in tmp_path.glob("results/tiny/*/run.json")]
    assert {record["run"]["seed"] for record in done} == {1}
    assert len(done) == 4
    _, notes = read_experiment(tmp_path / "results" / "tiny")
    (note,) = (note for note in notes if "not run yet" in note)
    assert note.startswith("4 of 8 runs are not run yet, such as densenet")
    assert fobench(*words, "--shard", "1/2", "--only", "_baseline_").exit_code == 0
    assert fobench(*words, "--shard", "3/3", "--dry-run").exit_code == 0, "a share may be empty"


def test_shares_of_other_sweeps_are_refused(fobench, tiny):
    words = ("run", tiny, "--shard", "1/2", "--device", "cpu", "--set")
    assert fobench(*words, "train.epochs=1").exit_code == 0
    ran = fobench(*words, "train.epochs=2")
    assert ran.exit_code == 2
    assert "give all shares the same config and data set" in ran.output


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2", ""])
def test_other_shards_are_mistakes(fobench, tiny, text):
    ran = fobench("run", tiny, "--shard", text)
    assert ran.exit_code == 2
    assert "give one such as 2/5" in ran.output


def test_methods_alternate_within_a_seed(experiments, tmp_path):
    plan, _ = plan_all(experiments, tmp_path, tmp_path)
    assert [(run.seed, run.repeat) for run in plan.chosen] == [
        (seed, repeat) for seed in (0, 1, 2) for repeat in (0, 1) for _ in range(4)
    ]


def test_time_left_is_estimated_by_flops(experiments, tmp_path):
    plan, _ = plan_all(experiments, tmp_path, tmp_path)
    whole, shorter, frozen, never = plan.chosen[:4]
    pace = Pace()
    assert pace.seconds_for([whole]) is None
    pace.add(whole, 100.0)
    assert pace.seconds_for([never]) == pytest.approx(100)
    assert pace.seconds_for([]) == 0
    left = pace.seconds_for([shorter, frozen])
    assert left == pytest.approx(
        100 * (total_flops(shorter) + total_flops(frozen)) / total_flops(whole)
    )
    assert total_flops(frozen) < total_flops(whole)
    # A network of which nothing is known goes at the pace of the others.
    other = replace(whole, model=whole.model.replace(depth=16))
    expected = 100 * total_flops(other) / total_flops(whole)
    assert pace.seconds_for([other]) == pytest.approx(expected)
    pace.add(other, 3 * expected)
    assert pace.seconds_for([other, whole]) == pytest.approx(3 * expected + 100)


def test_the_time_left_is_logged_once_a_run_is_done(fobench, tiny, caplog):
    caplog.set_level("INFO")
    assert fobench("run", tiny, "--set", "train.epochs=1", "--device", "cpu").exit_code == 0
    lines = [line for line in caplog.messages if re.match(r"tiny \d", line)]
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert ["left" in line for line in lines] == [False, True, True, True]
    caplog.clear()
    words = ("--set", "experiment.seeds=[0, 1]", "--device", "cpu")
    assert fobench("run", tiny, "--set", "train.epochs=1", *words).exit_code == 0
    first = next(line for line in caplog.messages if re.match(r"tiny \d", line))
    assert first.startswith("tiny 1/4 ")
    assert "left" in first, "known from the runs that were finished before"


@pytest.mark.slow
def test_images_that_are_elsewhere_than_in_finished_runs_are_told_of(
    fobench, tiny, tmp_path, monkeypatch, caplog
):
    """And where they were is recorded."""
    with monkeypatch.context() as patch:
        patch.setattr("fobench.data.split.available_memory", lambda _: (1000, 10**9))
        assert fobench("run", tiny, "--only", "_baseline_").exit_code == 0
    assert "with their images in another place" not in caplog.text
    [path] = tmp_path.glob("results/tiny/*/run.json")
    assert read_record(path.parent)["environment"]["images"] == "host memory"
    assert fobench("run", tiny).exit_code == 0
    assert "with their images in another place" in caplog.text


def test_a_run_that_resumes_with_its_images_elsewhere_is_told_of(
    fobench, tiny, monkeypatch, caplog
):
    words = ("run", tiny, "--only", "_baseline_", "--set", "train.epochs=9999")
    words = (*words, "--device", "cpu", "--time-limit", "1s")
    assert fobench(*words).exit_code == 75
    assert fobench(*words).exit_code == 75
    assert "than they began" not in caplog.text
    monkeypatch.setattr("fobench.data.split.available_memory", lambda _: (1000, 10**9))
    assert fobench(*words).exit_code == 75
    assert "(here: host memory) than they began: 1 of the runs to do" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (100, "2 min"), (3540, "59 min"), (12000, "3 h 20 min")]
)
def test_spans_are_formatted(seconds, text):
    assert format_duration(seconds) == text


def test_runs_that_cannot_be_paired_are_told_of_before_hours_of_training(
    fobench, tiny, monkeypatch, caplog
):
    """Baselines from another machine, or from before machines were told apart as now."""
    with monkeypatch.context() as patch:
        patch.setattr("fobench.machine.environment.host", lambda: "0123abcd")
        assert fobench("run", tiny, "--only", "_baseline_", "--device", "cpu").exit_code == 0
    caplog.clear()
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    assert "finished on another machine" in caplog.text
    assert "otherwise: 1 of the runs of the seeds to do" in caplog.text
    caplog.clear()
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    assert "another machine" not in caplog.text, "nothing is due"
