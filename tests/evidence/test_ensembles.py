"""An ensemble's error is that of all its members, and never a claim on freezing."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fobench.evidence import ensembles, store_savings
from fobench.evidence.pairs import table
from fobench.evidence.results import ExperimentResults, known_methods, results_of
from fobench.evidence.summary import summary
from fobench.records.runs import RunResult
from tests.evidence.ensemble_runs import ensemble_run
from tests.evidence.test_stats import result
from tests.evidence.test_verdicts import SMALL, Spread, baselines, judged, line, trained, verdict_on


def snapshots(seed: int, members, last, repeat: int = 0, **options) -> RunResult:
    """A run beside the baseline of `result`; it takes 80 seconds where that takes 100."""
    run = replace(result("freezeout", seed, 80, 0, repeat), id=f"snapshot-{seed}-{repeat}")
    return ensemble_run(run, members, last, **options)


def test_the_error_is_of_all_members_however_well_fewer_do():
    run = snapshots(0, (50, 40, 20), (10, 35))
    assert (run.test_error, run.last_member_error) == (35, 20)
    single = result("baseline", 0, 100, 30)
    assert (single.test_error, single.ensemble) == (30, None)
    assert math.isnan(single.last_member_error)


def test_ensembles_are_compared_with_baselines_by_the_error_of_all_members():
    """30 % for the baseline, 33 % for the ensemble, 24 % for its last member."""
    runs = [result("baseline", 0, 100, 30), snapshots(0, (40, 24), (33,))]
    baseline, ensemble = summary(table(runs)).to_dict("records")
    assert (ensemble["error"], ensemble["last_error"]) == (33, 24)
    assert ensemble["points"] == pytest.approx(3)
    assert ensemble["relative"] == pytest.approx(10)
    assert math.isnan(baseline["last_error"])


def test_the_last_members_error_has_an_interval_over_seeds_and_repeats_are_averaged():
    """Two seeds of 24 % and 26 %, the first twice, of 23 and 25 %."""
    runs = [
        snapshots(0, (40, 23), (20,)),
        snapshots(0, (40, 25), (20,), repeat=1),
        snapshots(1, (40, 26), (20,)),
    ]
    (row,) = summary(table(runs)).to_dict("records")
    assert row["last_error"] == 25
    assert row["last_error_high"] - 25 == pytest.approx(12.7062)  # t(0.975, 1) · √2 / √2
    assert 25 - row["last_error_low"] == pytest.approx(12.7062)


def test_an_ensemble_whose_last_member_is_best_is_not_on_the_front_by_it():
    """Slower than FreezeOut; its last member is more accurate, all members are not."""
    runs = [result("baseline", 0, 100, 30), result("freezeout", 0, 70, 31)]
    runs += [snapshots(0, (40, 20), (35,))]
    assert summary(table(runs))["on_front"].tolist() == [True, True, False]


def test_what_stores_change_is_the_error_of_all_members():
    """35 % without a store, 35.5 % with; the last members are 10 points apart."""
    without = snapshots(0, (40, 30), (35,), scaling="cubic", views=2)
    stored = snapshots(0, (40, 40), (35.5,), scaling="cubic", views=2, precompute=True)
    stored = replace(stored, id="stored")
    stored.record.update({"uncached": without.id, "timed": False})
    runs = [result("baseline", 0, 100, 30), without, stored]
    (row,) = store_savings.summary(results_of(Path("stored"), runs)).to_dict("records")
    assert row["points"] == pytest.approx(0.5)


@pytest.fixture
def two_seeds() -> ExperimentResults:
    """Three snapshots in two seeds, the second of which is untimed; a single model beside them."""
    runs = [result("baseline", seed, 100, 30) for seed in (0, 1)]
    runs += [
        snapshots(0, (50, 44, 40), (38, 36), eval_seconds=2.0),
        snapshots(0, (50, 44, 42), (38, 38), repeat=1, eval_seconds=8.0),
        snapshots(1, (54, 46, 39), (36, 37), eval_seconds=100.0),
    ]
    runs[-1].record["timed"] = False
    return results_of(Path("two"), runs)


def test_a_row_an_ensemble_with_means_over_seeds(two_seeds):
    """By hand, the repeats of the first seed averaged: 50, 44, 41 %; all three 37 %."""
    (row,) = ensembles.summary(two_seeds).to_dict("records")
    assert row["method"].label() == "3 snapshots, lr 0.2"
    assert row["n"] == 2
    assert row["members"] == [52, 45, 40]
    assert row["last"] == [37], "the last two; of one and of all three there are columns"
    assert (row["last_error"], row["error"]) == (40, 37)
    assert row["forward_flops"] == 2.5


def test_what_an_ensemble_gains_is_paired_by_seed(two_seeds):
    """4 and 2 points: the interval is narrower than either error's if these vary together."""
    (row,) = ensembles.summary(two_seeds).to_dict("records")
    assert row["gain"] == 3
    assert row["gain_high"] - 3 == pytest.approx(12.7062)


def test_evaluation_seconds_count_in_timed_runs_alone(two_seeds):
    """2 and 8 times in the repeats of one seed: 4 times, the mean of the logs."""
    (row,) = ensembles.summary(two_seeds).to_dict("records")
    assert row["timed"] == 1
    assert row["eval_ratio"] == pytest.approx(4)
    assert row["eval_ratio_low"] is None
    untimed = [run for run in two_seeds.runs if run.record.get("timed") is False]
    (row,) = ensembles.summary(results_of(Path("two"), untimed)).to_dict("records")
    assert row["timed"] == 0
    assert math.isnan(row["eval_ratio"])


def test_without_ensembles_there_are_no_rows():
    assert ensembles.summary(results_of(Path("one"), [result("baseline", 0, 100, 30)])).empty


@pytest.mark.parametrize("missing", ["all", "one"])
def test_an_ensemble_without_its_errors_is_left_out_not_taken_for_its_last_member(missing):
    run, whole = snapshots(0, (50, 40, 30), (28, 27)), snapshots(1, (50, 40, 30), (28, 27))
    run.record["id"] = run.id
    if missing == "all":
        del run.record["ensemble"]
    else:
        del run.record["ensemble"]["last"][-1]
    known, (note,) = known_methods([run, whole])
    assert known == [whole]
    assert note.startswith(f"{run.id} is left out: its run.json lacks the errors of its ensemble")


def of_seeds(seconds: float, error: float, spread: Spread = SMALL, **options) -> list[RunResult]:
    """An ensemble of three seeds; its last member has half of its error."""
    name = options.get("method", "snapshot")
    runs = [trained(seed, seconds, error, t0=0.8) for seed in range(3)]
    return [
        ensemble_run(replace(run, id=f"{name} {run.id} {options}"), (90, error / 2),
                     (error + each,), **options)
        for run, each in zip(runs, spread, strict=True)
    ]  # fmt: skip


def test_ensembles_are_no_evidence_that_freezing_beats_fewer_steps():
    """They freeze units, save time and lie below the line to beat, where no FreezeOut run does."""
    freezing = of_seeds(75, 20, scaling="cubic")
    assert all(run.epochs[-1].frozen_units for run in freezing)
    verdict = verdict_on("beats-fewer-steps", line() + freezing)
    assert verdict.outcome == "not tested"
    single = [trained(seed, 75, 37, t0=0.8) for seed in range(3)]
    verdict = verdict_on("beats-fewer-steps", line() + freezing + single)
    assert verdict.outcome == "fails"
    assert verdict.finding.setting == "FreezeOut cubic, scaled rates, t0 = 0.8"


@pytest.mark.parametrize(
    ("seconds", "error", "spread", "outcome"),
    [
        (101, 29, SMALL, "holds"),
        (101, 31, SMALL, "fails"),
        (110, 29, SMALL, "fails"),
        (101, 29.9, SMALL, "undecided"),
    ],
)
def test_snapshots_are_more_accurate_than_a_single_model(seconds, error, spread, outcome):
    """Of 30 % and 100 seconds; whatever the error of their last member."""
    verdict = verdict_on("snapshot-single", baselines() + of_seeds(seconds, error, spread))
    assert verdict.outcome == outcome


def beside_independent(seconds: float, error: float) -> list[RunResult]:
    """Snapshots, and independent models of 40 % in 100 seconds, both beside a baseline of 30 %."""
    control = of_seeds(100, 40, (0, 0, 0), method="ensemble")
    runs = of_seeds(seconds, error)
    for run, its_control in zip(runs, control, strict=True):
        run.record["control"] = its_control.id
    return baselines() + control + runs


@pytest.mark.parametrize(
    ("seconds", "error", "outcome"),
    [(101, 39, "holds"), (101, 41, "fails"), (110, 39, "fails"), (101, 39.9, "undecided")],
)
def test_snapshots_beside_independent_models(seconds, error, outcome):
    """Their error is not compared with the baseline's 30 %."""
    verdict = verdict_on("snapshot-independent", beside_independent(seconds, error))
    assert verdict.outcome == outcome
    assert verdict.finding.setting == "2 snapshots, lr 0.2, against its control"


@pytest.mark.parametrize("claim", ["snapshot-single", "snapshot-independent"])
def test_the_claims_on_snapshots_are_on_those_that_only_ensemble(claim):
    """With any cycles and rates; but neither freezing ones, nor independent models."""
    runs = beside_independent(101, 29) + of_seeds(101, 28, lr=0.1)
    for run, control in zip(runs[-3:], runs[3:6], strict=True):
        run.record["control"] = control.id
    settings = {each.finding.setting.partition(", against")[0] for each in judged(claim, runs)}
    assert settings == {"2 snapshots, lr 0.2", "2 snapshots, lr 0.1"}
    freezing = of_seeds(75, 20, scaling="cubic")
    (verdict,) = judged(claim, baselines() + freezing)
    assert verdict.outcome == "not tested"
    assert verdict.note.startswith("train snapshot with any cycles and keep_snapshots and lr and")
    assert verdict.note.endswith("as `fobench run cpu/snapshot` does")


def shares(seed: int) -> list[RunResult]:
    """Snapshots without freezing: 30 % error with all steps, 36 % with half of steps and time."""
    runs = []
    for seconds, error, share in ((100, 30, 1.0), (50, 36, 0.5)):
        run = replace(result("freezeout", seed, seconds, 0), id=f"plain-{seed}-{share}")
        runs.append(ensemble_run(run, (40, 35), (error,), epoch_share=share))
    return runs


def test_a_freezing_ensemble_is_compared_with_its_like_in_the_same_time_by_hand():
    """It takes 80 % of the time: on the line, 30 + (36 − 30) · 20 / 50 = 32.4 %."""
    runs = []
    for seed, error in ((0, 33.0), (1, 34.0)):
        frozen = snapshots(seed, (40, 35), (error,), scaling="cubic", keep_snapshots=False)
        runs += [result("baseline", seed, 100, 25), *shares(seed), frozen]
    found = ensembles.summary(results_of(Path("mine"), runs))
    plain, shorter, frozen = found.to_dict("records")
    assert frozen["shorter"] == pytest.approx((33.0 + 34.0) / 2 - 32.4)
    assert frozen["shorter_n"] == 2
    assert frozen["shorter_low"] < frozen["shorter"] < frozen["shorter_high"]
    for each in (plain, shorter):
        assert (each["shorter_n"], math.isnan(each["shorter"])) == (0, True)


def test_ensembles_of_another_kind_are_no_line_for_a_freezing_one():
    """Neither other rates, nor other cycles, nor single models."""
    runs = [result("baseline", 0, 100, 25), *shares(0)]
    for option in ({"lr": 0.1}, {"cycles": 3}):
        members = (40,) * option.get("cycles", 2)
        errors = (35,) * (len(members) - 1)
        options = {"scaling": "cubic"} | {key: option[key] for key in option if key == "lr"}
        found = ensembles.summary(
            results_of(Path("mine"), [*runs, snapshots(0, members, errors, **options)])
        )
        assert found.iloc[-1]["shorter_n"] == 0


@pytest.mark.parametrize("missing", ["members", "last", "forward_flops", "single_eval_seconds"])
def test_an_ensemble_that_lacks_an_entry_is_left_out_and_named(missing):
    run = snapshots(0, (40, 24), (33,))
    del run.record["ensemble"][missing]
    known, (note,) = known_methods([run])
    assert known == []
    assert "lacks the errors of its ensemble" in note


@pytest.mark.parametrize("seconds", [95, 120])
def test_an_ensemble_slower_than_its_whole_like_is_compared_with_that(seconds):
    """That takes 90 seconds, and so saves 10 % itself: 33 % against its 30 %."""
    plain = [
        ensemble_run(
            replace(result("freezeout", 0, took, 0), id=f"plain-{share}"),
            (40, 35),
            (error,),
            epoch_share=share,
        )
        for took, error, share in ((90, 30, 1.0), (50, 36, 0.5))
    ]
    frozen = replace(result("freezeout", 0, seconds, 0), id="frozen")
    frozen = ensemble_run(frozen, (40, 35), (33,), scaling="cubic")
    runs = [result("baseline", 0, 100, 25), *plain, frozen]
    found = ensembles.summary(results_of(Path("mine"), runs))
    assert found.iloc[-1]["shorter_n"] == 1
    assert found.iloc[-1]["shorter"] == pytest.approx(3.0)
