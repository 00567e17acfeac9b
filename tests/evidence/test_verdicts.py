"""Verdicts on the claims that come with fobench: each holds, fails and is undecided somewhere."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fobench.evidence.chosen import choose, validation_errors
from fobench.evidence.claims import read_claims
from fobench.evidence.front import ratio_of_predictions
from fobench.evidence.half_frozen import is_about_half
from fobench.evidence.outcomes import Margin
from fobench.evidence.results import results_of
from fobench.evidence.verdicts import Verdict, verdicts
from fobench.records.epochs import Epoch
from fobench.records.runs import RunResult
from fobench.report.verdict_table import HEADER, verdict_table
from tests.evidence.test_stats import result

CLAIMS = {claim.options.id: claim for claim in read_claims(None)}
MODELS = {"densenet": "DenseNet", "wideresnet": "WideResNet", "vgg": "VGG"}
Spread = tuple[float, float, float]
SMALL: Spread = (-0.1, 0.0, 0.1)
LARGE: Spread = (-6.0, 0.0, 6.0)


def trained(seed: int, seconds: float, error: float, family="densenet", **method) -> RunResult:
    """A run of FreezeOut with these options; of the baseline if they name none of its own."""
    name = "freezeout" if set(method) - {"epoch_share", "annealing"} else "baseline"
    run = result(name, seed, seconds, error)
    run.record["run"]["method"].update(method)
    run.record["run"] |= {
        "data": {"dataset": ["cifar10"], "augment": "none"},
        "data_used": {"name": "cifar10", "train_images": 6000},
        "model": {"name": family, "title": MODELS[family]},
        "train": {"epochs": 10, "batch_size": 64},
    }
    run.record["steps_per_epoch"] = 94
    run.record["id"] = f"{name} {seed} {sorted(method.items())}" if method else run.id
    (row,) = run.epochs
    frozen = 0 if name == "baseline" or method.get("compat") else row.frozen_units
    return RunResult(run.record["id"], run.record, [replace(row, frozen_units=frozen)])


def seeds(seconds: float, error: float, spread: Spread = SMALL, **method) -> list[RunResult]:
    """A run of three seeds, whose errors differ by the spread."""
    return [trained(seed, seconds, error + each, **method) for seed, each in enumerate(spread)]


def baselines(family="densenet") -> list[RunResult]:
    """The baseline: 100 seconds, 30 % of errors."""
    return seeds(100, 30, (0, 0, 0), family=family)


def judged(claim: str, runs: list[RunResult]) -> list[Verdict]:
    return verdicts([results_of(Path("some/cpu"), runs)], [CLAIMS[claim]])


def verdict_on(claim: str, runs: list[RunResult]) -> Verdict:
    (verdict,) = judged(claim, runs)
    return verdict


@pytest.mark.parametrize(
    ("claim", "family"), [("densenet-20", "densenet"), ("resnet-20", "wideresnet")]
)
@pytest.mark.parametrize(
    ("seconds", "error", "spread", "outcome"),
    [
        (75, 29.5, SMALL, "holds"),
        (75, 34, SMALL, "fails"),
        (85, 29.5, SMALL, "fails"),
        (75, 30, LARGE, "undecided"),
    ],
)
def test_time_saved_within_a_change_of_the_error(claim, family, seconds, error, spread, outcome):
    runs = baselines(family) + seeds(seconds, error, spread, family=family, t0=0.8)
    verdict = verdict_on(claim, runs)
    assert verdict.outcome == outcome
    assert verdict.note.startswith("n ") == (outcome == "undecided")


def test_one_seed_is_undecided_however_clear():
    runs = [trained(0, 100, 30), trained(0, 50, 20, t0=0.8)]
    verdict = verdict_on("densenet-20", runs)
    assert (verdict.outcome, verdict.note) == ("undecided", "at least two seeds")


def test_without_a_baseline_a_saving_is_not_tested():
    verdict = verdict_on("densenet-20", seeds(75, 29.5, t0=0.8))
    assert verdict.outcome == "not tested"
    assert verdict.note == "needs the baseline on the same machine, or a profile"
    assert verdict.finding.measures == ()


def test_a_seed_whose_baseline_has_no_error_is_not_of_the_changes_in_percent():
    """Of 30 % to 36 % in two seeds; the third has a change in points alone."""
    runs = [trained(seed, 100, 30 * (seed > 0)) for seed in range(3)]
    verdict = verdict_on("densenet-20", runs + seeds(75, 36, t0=0.8))
    change = verdict.finding.measures[1].interval
    assert (change.n, verdict.finding.errors, verdict.finding.times) == (2, 2, 3)
    assert change.mean == pytest.approx(100 * (36.05 / 30 - 1))


def untimed(runs: list[RunResult], predicted: float) -> list[RunResult]:
    """Trained beside others; the profile predicts their time saved, in percent."""
    for run in runs:
        run.record.update({
            "timed": False,
            "predictions": {"profile": {"saved_percent": predicted, "file": "p", "step_seconds": [
                1.0, 0.7]}},
        })  # fmt: skip
    return runs


@pytest.mark.parametrize(
    ("predicted", "outcome", "note"),
    [(25, "holds", ""), (23, "undecided", "timed runs"), (15, "fails", "")],
)
def test_a_predicted_time_decides_only_beyond_its_accuracy(predicted, outcome, note):
    runs = baselines() + untimed(seeds(75, 29.5, t0=0.8), predicted)
    verdict = verdict_on("densenet-20", runs)
    assert (verdict.outcome, verdict.note) == (outcome, note)
    assert (verdict.finding.times, verdict.finding.errors) == (0, 3)
    (row,) = verdict_table([verdict]).columns(["measured", "n of times, errors"])
    assert row[0].startswith(f"time saved, %: {predicted}.0 (predicted); error change, %: -1.67 (")
    assert row[1] == "0, 3"


def validated(runs: list[RunResult], error: float) -> list[RunResult]:
    return [
        replace(run, epochs=[replace(row, val_error=error) for row in run.epochs]) for run in runs
    ]


def test_the_setting_is_chosen_by_validation_error_among_those_that_save_enough():
    """The first has the lowest test error, the last the lowest validation error but saves 5 %."""
    runs = [
        *baselines(),
        *validated(seeds(80, 28, t0=0.7), 40),
        *validated(seeds(85, 29, t0=0.8), 38),
        *validated(seeds(95, 27, t0=0.9), 30),
        *validated(seeds(60, 20, t0=0.6, views=2), 10),
        *validated(seeds(60, 20, t0=0.6, compat="reference"), 10),
    ]
    verdict = verdict_on("densenet-no-loss", runs)
    assert verdict.outcome == "holds"
    assert verdict.finding.setting == (
        "FreezeOut cubic, scaled rates, t0 = 0.8; chosen by validation error"
    )
    assert choose([5, 8], [runs, runs], Margin(low=10)) == 1, "none saves enough: what saves most"


def test_what_saves_too_little_does_not_narrow_the_seeds_that_choose():
    """The last saves 5 % and has seed 0 alone, in which the first is better; over all it is not."""
    first = validated([trained(0, 80, 30, t0=0.7)], 20) + validated(
        [trained(1, 80, 30, t0=0.7)], 40
    )
    second = [run for seed in (0, 1) for run in validated([trained(seed, 80, 30, t0=0.8)], 25)]
    third = validated([trained(0, 95, 30, t0=0.9)], 10)
    assert choose([20, 20, 5], [first, second, third], Margin(low=10)) == 1
    assert choose([20, 20, 15], [first, second, third], Margin(low=10)) == 2, "seed 0, now"
    assert choose([20, 20, 15], [first, second, third[:0]], Margin(low=10)) is None


def test_validation_errors_are_compared_over_common_seeds():
    """The second is better in seed 0, the only one of both; its mean over all seeds is higher."""
    one = validated([trained(0, 80, 30, t0=0.7)], 19)
    runs = [trained(seed, 80, 30, t0=0.8) for seed in (0, 1)]
    other = validated(runs[:1], 18) + validated(runs[1:], 30)
    assert validation_errors([one, other]) == [19, 18]
    repeats = validated(runs[:1], 20) + other
    assert validation_errors([one, repeats]) == [19, 19], "a seed's repeats are averaged"
    assert all(map(math.isnan, validation_errors([one, other[1:]]))), "no seed of both"
    without = validated(seeds(80, 30, t0=0.7)[:1], math.nan)
    assert math.isnan(validation_errors([one + without, other])[0]), "a repeat's is not known"
    unknown = validation_errors([one + other, seeds(80, 30, t0=0.9)])
    assert math.isnan(unknown[1]), "not measured"


@pytest.mark.parametrize(
    ("error", "spread", "outcome"),
    [(30, SMALL, "holds"), (32, SMALL, "fails"), (30, LARGE, "undecided")],
)
def test_no_loss_of_the_chosen_setting(error, spread, outcome):
    runs = baselines() + validated(seeds(85, error, spread, t0=0.8), 40)
    assert verdict_on("densenet-no-loss", runs).outcome == outcome


def test_without_validation_errors_nothing_is_chosen():
    verdict = verdict_on("densenet-no-loss", baselines() + seeds(85, 30, t0=0.8))
    assert verdict.outcome == "not tested"
    assert "set data.validation" in verdict.note


def line(family="densenet") -> list[RunResult]:
    """From 30 % of errors at 100 seconds to 40 % at 50."""
    shorter = seeds(50, 40, (0, 0, 0), family=family, epoch_share=0.5)
    return baselines(family) + shorter


@pytest.mark.parametrize(
    ("error", "spread", "freezing", "vgg"),
    [
        (33, SMALL, "holds", "fails"),
        (37, SMALL, "fails", "holds"),
        (34.8, SMALL, "undecided", "holds"),
        (35, LARGE, "undecided", "undecided"),
    ],
)
def test_the_distance_to_the_line_to_beat(error, spread, freezing, vgg):
    """At 75 seconds the line is at 35 %."""
    runs = line("vgg") + seeds(75, error, spread, family="vgg", t0=0.8)
    verdict = verdict_on("beats-fewer-steps", runs)
    assert verdict.outcome == freezing
    distance = verdict.finding.measures[1].interval
    assert distance.mean == pytest.approx(error - 35)
    assert verdict_on("vgg-no-improvement", runs).outcome == vgg


def test_each_method_that_freezes_has_its_distance_to_the_line():
    runs = line() + seeds(75, 33, t0=0.8) + seeds(60, 45, t0=0.5, views=2)
    found = judged("beats-fewer-steps", runs)
    assert [each.outcome for each in found] == ["holds", "fails"]


def test_beyond_the_end_of_the_line_nothing_is_tested():
    """60 % saved, where the line ends at 50 % with half of the steps: 0.4 of them are needed."""
    verdict = verdict_on("beats-fewer-steps", line() + seeds(40, 20, t0=0.5))
    assert verdict.outcome == "not tested"
    assert verdict.note == (
        "the line to beat ends at 50.0 % of time saved: add a baseline with epoch_share = 0.4"
    )
    verdict = verdict_on("beats-fewer-steps", baselines() + seeds(40, 20, t0=0.5))
    assert verdict.note.startswith("there is no line to beat: add a baseline with epoch_share")


def of_reference(seconds: float, error: float, spread: Spread) -> list[RunResult]:
    """The baseline that anneals, one that does not, and the published code's VGG."""
    control = seeds(100, 50, (0, 0, 0), family="vgg", annealing="constant")
    runs = seeds(seconds, error, spread, family="vgg", compat="reference")
    for run, its_control in zip(runs, control, strict=True):
        run.record["control"] = its_control.id
    return baselines("vgg") + control + runs


@pytest.mark.parametrize(
    ("seconds", "error", "spread", "outcome"),
    [
        (99, 50, SMALL, "holds"),
        (90, 50, SMALL, "fails"),
        (99, 48, SMALL, "fails"),
        (99, 50, LARGE, "undecided"),
    ],
)
def test_the_published_vgg_beside_its_own_control(seconds, error, spread, outcome):
    """Its error of 50 % is not compared with the annealed baseline's 30 %."""
    assert verdict_on("vgg-reference", of_reference(seconds, error, spread)).outcome == outcome


def test_the_published_vgg_without_its_control_is_not_tested():
    runs = [run for run in of_reference(99, 50, SMALL) if "annealing" not in run.id]
    assert verdict_on("vgg-reference", runs).outcome == "not tested"


@pytest.mark.parametrize(
    ("seconds", "error", "spread", "outcome"),
    [
        (60, 40, SMALL, "holds"),
        (90, 30, SMALL, "holds"),
        (60, 30, SMALL, "fails"),
        (60, 35, LARGE, "undecided"),
        (90, 45, SMALL, "holds"),
    ],
)
def test_cubic_is_on_the_front_beside_another_setting(seconds, error, spread, outcome):
    """It takes 75 seconds and has 35 % of errors; those of the seeds are paired."""
    runs = baselines() + seeds(75, 35, t0=0.8) + seeds(seconds, error, spread, t0=0.5)
    verdict = verdict_on("cubic-on-front", runs)
    assert verdict.outcome == outcome
    assert verdict.finding.setting.endswith(
        "beside FreezeOut cubic, scaled rates, t0 = 0.5 (1 of 1)"
    )


def test_the_front_names_the_setting_that_beats_it():
    runs = baselines() + seeds(75, 35, t0=0.8)
    runs += seeds(60, 45, t0=0.5) + seeds(60, 30, t0=0.6) + seeds(1, 1, t0=0.5, views=2)
    verdict = verdict_on("cubic-on-front", runs)
    assert verdict.outcome == "fails"
    assert "t0 = 0.6 (1 of 2)" in verdict.finding.setting
    slower, worse = (each.interval for each in verdict.finding.measures)
    assert slower.mean == pytest.approx(25)
    assert worse.mean == pytest.approx(5)


def test_predicted_times_count_on_the_front():
    """Time left of 79 and 60 %: 31.7 % slower."""
    runs = baselines() + untimed(seeds(75, 35, t0=0.8), 21) + untimed(seeds(75, 33, t0=0.5), 40)
    verdict = verdict_on("cubic-on-front", runs)
    assert verdict.outcome == "fails"
    assert verdict.finding.measures[0].interval.mean == pytest.approx(100 * (79 / 60 - 1))


def test_a_measured_time_is_not_compared_with_a_predicted_one_on_the_front():
    """Measured are 25 % saved, predicted 21; another setting is predicted to save 21, too."""
    late = seeds(75, 35, t0=0.8)
    for run in late:
        untimed([run], 21)[0].record["timed"] = True
    runs = baselines() + late + untimed(seeds(75, 33, t0=0.5), 21)
    time, _ = verdict_on("cubic-on-front", runs).finding.measures
    assert (time.basis, time.interval.mean) == ("predicted", 0)


def test_what_was_trained_on_one_common_seed_hides_no_verdict_of_the_front():
    runs = baselines() + seeds(75, 35, t0=0.8) + seeds(60, 40, t0=0.5)
    alone = trained(0, 60, 30, t0=0.6)
    assert verdict_on("cubic-on-front", [*runs, alone]).outcome == "holds"
    only = baselines() + seeds(75, 35, t0=0.8) + [alone]
    assert verdict_on("cubic-on-front", only).note == "at least two seeds"


def stored(seconds: float, error: float, spread: Spread) -> list[RunResult]:
    """Runs of 75 seconds and 35 %, and the same with a store."""
    without = seeds(75, 35, (0, 0, 0), t0=0.8, views=2)
    runs = seeds(seconds, error, spread, t0=0.8, views=2, precompute=True)
    for run, uncached in zip(runs, without, strict=True):
        run.record.update(
            {
                "uncached": uncached.id,
                "store_plan": {"builds": [{"epoch": 1}], "predicted": {"seconds_saved": 5.0}},
                "store": {"build_seconds": [1.0], "read_seconds": [1.0]},
            }
        )
    return baselines() + [timed_epoch(run) for run in without + runs]


def timed_epoch(run: RunResult) -> RunResult:
    (row,) = run.epochs
    return replace(run, epochs=[replace(row, train_seconds=row.total_train_seconds)])


@pytest.mark.parametrize(
    ("seconds", "error", "spread", "outcome"),
    [
        (65, 35, SMALL, "holds"),
        (74, 35, SMALL, "fails"),
        (65, 37, SMALL, "fails"),
        (65, 35, LARGE, "undecided"),
    ],
)
def test_stores_save_more_at_the_same_error(seconds, error, spread, outcome):
    verdict = verdict_on("precomputation", stored(seconds, error, spread))
    assert verdict.outcome == outcome
    assert verdict.finding.measures[0].interval.mean == pytest.approx(75 - seconds)


@pytest.mark.parametrize(("predicted", "outcome"), [(35, "holds"), (33, "undecided")])
def test_what_stores_save_is_predicted_where_it_was_not_timed(predicted, outcome):
    runs = stored(65, 35, SMALL)
    untimed(runs[3:6], 25)
    untimed(runs[6:], predicted)
    assert verdict_on("precomputation", runs).outcome == outcome


def test_what_is_not_even_predicted_is_not_called_predicted():
    runs = stored(65, 35, SMALL)
    for run in runs:
        run.record["timed"] = False
    verdict = verdict_on("precomputation", runs)
    ((measured,),) = verdict_table([verdict]).columns(["measured"])
    assert measured.startswith("saved by the store, points of time: –; error change")
    assert verdict.note == "saved by the store was not measured"


def profiled(runs: list[RunResult], half: float, file: str) -> list[RunResult]:
    for run in runs:
        seconds = [1.0, 0.8, half, 0.1]
        run.record["predictions"] = {"profile": {"file": file, "step_seconds": seconds}}
    return runs


def test_each_profile_of_half_of_the_units_frozen_is_judged_for_itself():
    """They are of different machines."""
    runs = profiled(baselines(), 0.5, "a.json") + profiled(seeds(75, 30, t0=0.8), 0.65, "b.json")
    found = [(each.finding.setting, each.outcome) for each in judged("half-frozen", runs)]
    assert found == [
        ("0 of 1 units frozen, a.json", "holds"),
        ("0 of 1 units frozen, b.json", "fails"),
    ]


@pytest.mark.parametrize(
    ("ratio", "outcome"),
    [(0.55, "holds"), (0.57, "undecided"), (0.63, "undecided"), (0.65, "fails")],
)
def test_a_profile_decides_only_beyond_its_accuracy(ratio, outcome):
    verdict = verdict_on("half-frozen", profiled(baselines(), ratio, "a"))
    assert verdict.outcome == outcome
    needs = "no profile, as they are accurate to 0.04"
    assert verdict.note == (needs if outcome == "undecided" else "")


def with_epochs(run: RunResult, rows: list[tuple[int, float]]) -> RunResult:
    """A run of epochs of ten steps, each with its frozen units and its seconds, of ten units."""
    (row,) = run.epochs
    run.record.update({"units": [{"name": str(unit), "freeze_step": None} for unit in range(10)],
                   "steps_per_epoch": 10})  # fmt: skip
    epochs: list[Epoch] = []
    for number, (frozen, seconds) in enumerate(rows, start=1):
        epoch = replace(row, epoch=number, step=10 * number, frozen_units=frozen)
        epochs.append(replace(epoch, train_seconds=seconds))
    return replace(run, epochs=epochs)


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [
        ((5.0, 5.1, 5.0), "holds"),
        ((7.0, 7.1, 7.0), "fails"),
        ((4.0, 5.0, 7.0), "undecided"),
    ],
)
def test_half_of_the_units_frozen_by_epochs(seconds, outcome):
    """Of ten units 5 are frozen throughout the third epoch alone."""
    runs = [with_epochs(run, [(0, 10.0)] * 4) for run in baselines()]
    runs += [
        with_epochs(run, [(3, 9.0), (5, 8.0), (5, each), (8, 1.0)])
        for run, each in zip(seeds(75, 30, t0=0.8), seconds, strict=True)
    ]
    verdict = verdict_on("half-frozen", runs)
    assert verdict.outcome == outcome
    assert verdict.finding.times == 3
    assert verdict.finding.measures[0].interval.mean == pytest.approx(sum(seconds) / 30)


def test_half_is_a_share_of_45_to_60_percent_from_start_to_end():
    assert is_about_half(9, 12, 20)
    assert not is_about_half(8, 10, 20)
    assert not is_about_half(10, 13, 20)


def test_a_claim_that_no_experiment_tests_says_what_to_run():
    """No run is of a ResNet; and the frozen runs of the DenseNet are of another setting."""
    runs = baselines() + seeds(75, 30, t0=0.5)
    found = verdicts([results_of(Path("cpu"), runs)], [CLAIMS["resnet-20"], CLAIMS["densenet-20"]])
    assert [each.outcome for each in found] == ["not tested"] * 2
    assert found[0].note == (
        "on wideresnet: train FreezeOut cubic, scaled rates, t0 = 0.8 and the baseline, as "
        "`fobench run cpu/wideresnet` does"
    )


def test_each_claim_has_a_line_in_the_table_with_margin_n_and_scale():
    runs = line() + seeds(75, 34, t0=0.8)
    found = verdicts([results_of(Path("results/cpu"), runs)], list(CLAIMS.values()))
    shown = verdict_table(found)
    assert tuple(shown.header) == HEADER
    assert {row[0] for row in shown.rows} == {each.options.statement for each in CLAIMS.values()}
    assert shown.rows[0] == (
        "DenseNet: 20 % of the training time saved within 3 % relative error",
        "fails",
        "FreezeOut cubic, scaled rates, t0 = 0.8",
        "cpu",
        "time saved, %: 25.0 (25.0 to 25.0); error change, %: +13.33 (+12.51 to +14.16)",
        "3, 3",
        "time saved, %: at least 20; error change, %: at most 3",
        "–",
        "DenseNet, cifar10, 6,000 training images, 10 epochs",
        "FreezeOut paper (arXiv 1706.04983), abstract",
    )


def test_the_ratio_of_two_predicted_times_may_be_off_by_both():
    """21 and 40 % saved: 79 against 60, either off by 4 points."""
    percent, accuracy = ratio_of_predictions(21, 40)
    assert percent == pytest.approx(100 * (79 / 60 - 1))
    worst = 100 * (83 / 56 - 1) - percent
    assert accuracy == pytest.approx(worst, rel=0.1)
