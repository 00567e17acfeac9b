"""What the texts say in words of the experiments of fifty epochs, and of CIFAR-100."""

import pytest

from docs.numbers import cifar100, fifty_epochs
from docs.numbers.words import experiment

STORED = "8 views, stored as float16, "


def test_after_fifty_epochs_early_freezing_lies_above_the_line_in_every_network():
    for name in fifty_epochs.EXPERIMENTS:
        found = fifty_epochs.outcomes_of(experiment(name))
        assert found["FreezeOut cubic, scaled rates, t0 = 0.5"] == "fails", name


def test_after_fifty_epochs_late_freezing_is_undecided_but_for_vgg_with_means_above_the_line():
    for name in fifty_epochs.EXPERIMENTS:
        found = fifty_epochs.outcomes_of(experiment(name))
        plain, stored = (f"FreezeOut cubic, scaled rates, {each}t0 = 0.8" for each in ("", STORED))
        assert found[plain] == ("fails" if name == fifty_epochs.VGG else "undecided"), name
        assert found[stored] == "undecided", name
        rows = rows_of(name)
        assert min(rows[label]["fewer_steps"] for label in (plain, stored)) > 0, name
        if name == fifty_epochs.VGG:
            assert rows[plain]["fewer_steps_low"] < 0.1, "only just"


def rows_of(name: str) -> dict:
    """The rows of an experiment's summary by the methods' labels."""
    return {row["method"].label(): row for _, row in experiment(name).summary.iterrows()}


def test_after_fifty_epochs_a_store_saves_more_by_the_predictions_and_helps_nowhere():
    for name in fifty_epochs.EXPERIMENTS:
        rows = [row for _, row in experiment(name).summary.iterrows()]
        frozen = [row for row in rows if row["method"].name == "freezeout"]
        frozen = [row for row in frozen if row["method"].scaling == "cubic"]
        frozen = [row for row in frozen if not fifty_epochs.is_matched(row)]
        frozen = [row for row in frozen if row["method"].compat != "reference"]
        frozen = [row for row in frozen if row["method"].scale_lr]
        frozen = [row for row in frozen if not row["method"].views or row["method"].precompute]
        saved = {
            (row["method"].t0, row["method"].precompute): row["profile_saved"] for row in frozen
        }
        assert all(saved[t0, True] > saved[t0, False] for t0 in (0.5, 0.8)), name
        assert not any(row["fewer_steps_high"] < 0 for row in frozen), name


def test_of_all_strategies_on_wideresnet_the_decided_ones_lie_above_the_line():
    outcomes = fifty_epochs.outcomes_of(experiment(fifty_epochs.WIDERESNET))
    strategies = strategies_of(fifty_epochs.WIDERESNET)
    fails = [("linear", "unscaled", 0.8), ("cubic", "scaled", 0.5), ("cubic", "unscaled", 0.5)]
    for key, row in strategies.items():
        assert (outcomes[row["method"].label()] == "fails") == (key in fails), key
        assert (row["fewer_steps"] < 0) == (key == ("linear", "scaled", 0.8)), key
        if key[:2] != ("cubic", "scaled"):
            assert row["n"] == row["fewer_steps_predicted"] == 4
    assert 0 < strategies["linear", "unscaled", 0.8]["fewer_steps_low"] < 0.1


def strategies_of(name: str) -> dict:
    rows = rows_of(name)
    return {
        (scaling, rates, t0): rows[f"FreezeOut {scaling}, {rates} rates, t0 = {t0}"]
        for scaling in ("linear", "cubic")
        for rates in ("scaled", "unscaled")
        for t0 in (0.5, 0.8)
    }


def test_of_all_strategies_on_densenet_early_cubic_ones_alone_are_decided():
    """Of the others there are two seeds; both are timed."""
    outcomes = fifty_epochs.outcomes_of(experiment(fifty_epochs.DENSENET))
    for key, row in strategies_of(fifty_epochs.DENSENET).items():
        assert (outcomes[row["method"].label()] == "fails") == (key[::2] == ("cubic", 0.5)), key
        assert (row["fewer_steps"] < 0) == (key == ("linear", "scaled", 0.8)), key
        if key[:2] != ("cubic", "scaled"):
            assert row["n"] == row["pairs"] == 2


def test_linear_schedules_save_less_than_half_as_much_as_cubic_ones():
    for name in (fifty_epochs.DENSENET, fifty_epochs.WIDERESNET):
        strategies = strategies_of(name)
        for rates in ("scaled", "unscaled"):
            for t0 in (0.5, 0.8):
                linear, cubic = (strategies[each, rates, t0] for each in ("linear", "cubic"))
                assert linear["profile_saved"] < 0.5 * cubic["profile_saved"], "as predicted"


def test_between_the_two_freeze_times_only_views_without_a_store_fail():
    for name in (fifty_epochs.DENSENET, fifty_epochs.WIDERESNET):
        outcomes, rows = fifty_epochs.outcomes_of(experiment(name)), rows_of(name)
        between = {
            each: f"FreezeOut cubic, scaled rates, {each}t0 = 0.65"
            for each in ("", STORED, "8 views, ")
        }
        found = [outcomes[label] for label in between.values()]
        assert found == ["undecided", "undecided", "fails"], name
        assert all(rows[label]["fewer_steps"] > 0 for label in between.values()), name


def test_on_vgg_the_other_strategies_lie_above_the_line_in_their_one_seed():
    rows = strategies_of(fifty_epochs.VGG).values()
    others = [row for row in rows if row["n"] == 1]
    assert len(others) == 6
    assert min(row["fewer_steps"] for row in others) > 0


def test_with_the_time_filled_up_early_freezing_fails_and_late_freezing_is_undecided():
    panel = experiment("cpu-wideresnet")
    outcomes = fifty_epochs.outcomes_of(panel)
    label = "FreezeOut cubic, scaled rates, equal FLOPs, t0 = {}"
    assert outcomes[label.format(0.5)] == "fails"
    assert outcomes[label.format(0.8)] == "undecided"
    rows = [row for _, row in panel.summary.iterrows() if fifty_epochs.is_matched(row)]
    assert all(0 < row["profile_saved"] < 4 for row in rows), "the time of the whole baseline"
    (baseline,) = [row for _, row in panel.summary.iterrows() if row["method"].is_whole_baseline]
    assert 0 < baseline["error"] - min(row["error"] for row in rows) < 0.1


def test_below_the_line_are_three_means_of_all_settings_of_fifty_epochs():
    below = [
        (name, row["method"].label())
        for name in fifty_epochs.EXPERIMENTS
        for _, row in experiment(name).summary.iterrows()
        if row["fewer_steps"] < 0
    ]
    assert below == [
        ("gpu-densenet", "FreezeOut linear, scaled rates, t0 = 0.8"),
        ("cpu-wideresnet", "FreezeOut linear, scaled rates, t0 = 0.8"),
        ("cpu-wideresnet", "FreezeOut cubic, scaled rates, equal FLOPs, t0 = 0.8"),
    ]


def test_the_published_codes_vgg_cannot_be_told_from_its_control():
    row = fifty_epochs.against_its_control(experiment("gpu-vgg"))
    assert row["error_pairs"] == 4
    assert row["points_low"] < 0 < row["points_high"]


def test_annealed_baselines_lie_on_the_front_and_freezing_does_elsewhere_by_few_seeds():
    for name in fifty_epochs.EXPERIMENTS:
        rows = [row for _, row in experiment(name).summary.iterrows()]
        lines = [row for row in rows if row["method"].is_baseline]
        assert len(lines) == 6
        off = [row["method"].label() for row in lines if not row["on_front"]]
        is_wideresnet = name == "cpu-wideresnet"
        assert off == ["baseline"] * is_wideresnet, "equal FLOPs with t0 = 0.8 has a lower mean"
        frozen = [row["n"] for row in fifty_epochs.on_front(experiment(name))]
        few = {fifty_epochs.DENSENET: [2] * 4, fifty_epochs.VGG: [1]}
        assert is_wideresnet or frozen == few[name], name


def test_vgg_loses_most_and_its_seeds_differ_most():
    early = "FreezeOut cubic, scaled rates, t0 = 0.5"
    rows = [
        row
        for name in fifty_epochs.EXPERIMENTS
        for _, row in experiment(name).summary.iterrows()
        if row["method"].label() == early
    ]
    lost = [row["points"] for row in rows]
    spread = [row["points_high"] - row["points_low"] for row in rows]
    assert fifty_epochs.EXPERIMENTS[lost.index(max(lost))] == "gpu-vgg"
    assert fifty_epochs.EXPERIMENTS[spread.index(max(spread))] == "gpu-vgg"


@pytest.mark.parametrize(
    ("name", "seeds"), [("gpu-densenet", [0, 1, 4, 5]), ("cpu-wideresnet", [1, 2]), ("gpu-vgg", [])]
)
def test_of_fifty_epochs_the_seeds_that_the_page_names_were_timed(name, seeds):
    table = experiment(name).table
    assert (table["timed"] == table["seed"].isin(seeds)).all()


def test_on_cifar100_the_means_lie_on_the_line_or_below_it_and_nothing_is_decided():
    panel = experiment(cifar100.EXPERIMENT)
    outcomes = fifty_epochs.outcomes_of(panel)
    assert len(outcomes) == 4
    assert set(outcomes.values()) == {"undecided"}
    assert panel.summary["fewer_steps"].max() < 0
    assert not panel.table["timed"].any()
    assert panel.table["seed"].nunique() == 2


def test_by_the_means_shorter_baselines_lose_more_points_on_cifar100_and_about_as_many_percent():
    lost = [
        {
            row["method"].epoch_share: row
            for _, row in experiment(name).summary.iterrows()
            if row["method"].is_baseline and not row["method"].is_whole_baseline
        }
        for name in ("cpu-wideresnet", cifar100.EXPERIMENT)
    ]
    shares = [0.85, 0.7, 0.55, 0.4, 0.3]
    for share in shares:
        few, many = (each[share] for each in lost)
        assert many["points"] > few["points"], share
        assert abs(many["relative"] - few["relative"]) < 4, share
