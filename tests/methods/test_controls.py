"""The controls a sceptic asks for: equal time, the published code's schedule, a constant rate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fobench.costs.flops import describe, flops_of, freeze_steps_of, match_flops
from fobench.costs.unit_costs import unit_costs_of
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.freezing import schedule
from fobench.methods import BaselineOptions, FreezeOutOptions
from fobench.models import FAMILIES
from fobench.records.experiments import read_experiment
from fobench.records.runs import read_run
from fobench.training.optimizer import build_optimizer
from fobench.training.state import build_network
from tests.conftest import TINY
from tests.networks import EXAMPLES


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    path = tmp_path_factory.mktemp("controls") / "tiny.toml"
    path.write_text(TINY)
    return expand(load(path), open_synthetic("synthetic", 55, 20))[0]


def freezeout(run: Run, **options) -> Run:
    return replace(run, method=FreezeOutOptions(**options))


def of_family(run: Run, family: str) -> Run:
    return replace(run, model=FAMILIES[family](**EXAMPLES[family]))


def rates(run: Run) -> np.ndarray:
    """The learning rate of each group at each step, as the run's method sets it."""
    network = build_network(run)
    optimizer = build_optimizer(network, run.train)
    method = run.method.start(network, optimizer, run.info(len(network)))
    found = []
    for _ in range(run.total_steps):
        method.step()
        found.append([group["lr"] for group in optimizer.param_groups])
    return np.array(found)


@settings(max_examples=40, deadline=None)
@given(
    t0=st.floats(0.1, 1),
    scaling=st.sampled_from(sorted(schedule.SCALINGS)),
    share=st.sampled_from([1.0, 0.6]),
    family=st.sampled_from(sorted(EXAMPLES)),
)
def test_matched_steps_cost_what_the_baseline_costs_and_not_a_step_more(
    run, t0, scaling, share, family
):
    asked = freezeout(
        of_family(run, family), t0=t0, scaling=scaling, epoch_share=share, match_time=True
    )
    matched = match_flops(asked)
    costs = unit_costs_of(matched)
    shorter = replace(run.baseline_run, method=BaselineOptions(epoch_share=share))
    paid = flops_of(of_family(shorter, family), costs)
    assert matched.total_steps >= shorter.total_steps
    assert flops_of(matched, costs) <= paid
    one_more = replace(matched, matched_steps=matched.total_steps + 1)
    assert flops_of(one_more, costs) > paid


def test_a_matched_run_is_known_by_its_steps(run):
    """Which follow from FLOPs and so hang on no clock; other steps are another run."""
    asked = freezeout(run, t0=0.3, match_time=True)
    matched = match_flops(asked)
    assert match_flops(asked).id == matched.id
    assert "-matched_" in matched.id
    assert replace(matched, matched_steps=99).id != matched.id
    with pytest.raises(ValueError, match="has no steps before"):
        _ = asked.total_steps


def test_a_matched_run_trains_longer_and_saves_no_flops(fobench, tiny, tmp_path):
    tiny.write_text(TINY.replace("t0 = [0.3, 1.0]", "t0 = 0.3\nmatch_time = [true, false]"))
    listed = fobench("run", tiny, "--dry-run").output
    assert "-matched_" in listed
    assert fobench("run", tiny, "--only", "matched", "--device", "cpu").exit_code == 0
    (folder,) = (tmp_path / "results" / "tiny").glob("*-matched_*")
    read = read_run(folder)
    assert read.epochs[-1].step == read.record["total_steps"] > 15
    assert 0 <= read.record["predictions"]["flops_saved_percent"] < 100 / 15
    assert read.epochs[-1].frozen_units > 0


@pytest.mark.parametrize("family", ["densenet", "wideresnet"])
@pytest.mark.parametrize("scale_lr", [True, False])
def test_the_published_schedule_runs_over_ten_ninths_of_the_steps_and_never_ends(
    run, family, scale_lr
):
    """Rebuilt from the paper's formula with 1000 steps per epoch where there are 900."""
    run = freezeout(
        of_family(run, family), scaling="linear", t0=0.3, scale_lr=scale_lr, compat="reference"
    )
    found = rates(run)
    units = found.shape[1]
    times = 0.3 + 0.7 * np.arange(units) / (units - 1)
    # 15 steps are 16.67 of the published code's, of which no part can be trained.
    progress = np.arange(15)[:, None] / 17
    initial = 0.1 / times if scale_lr else 0.1
    expected = np.where(progress < times, 0.5 * initial * (1 + np.cos(np.pi * progress / times)), 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[-1, -1] > 0, "the head is still learning at the end"
    steps = freeze_steps_of(run)
    assert [step for step in steps if step < 15] == [
        int(np.ceil(time * 17)) for time in times if np.ceil(time * 17) < 15
    ]
    assert schedule.reference_steps(90_000) == 100_000


def test_the_published_vgg_stays_at_its_first_rates_and_never_freezes(run):
    vgg = freezeout(of_family(run, "vgg"), scaling="cubic", t0=0.8, compat="reference")
    found = rates(vgg)
    head = found.shape[1] - 1
    times = (0.8 + 0.2 * np.arange(head + 1) / head) ** 3
    np.testing.assert_allclose(found, np.tile(0.1 / times, (15, 1)))
    assert freeze_steps_of(vgg) == [15] * 14
    assert describe(vgg)["annealing_steps"] is None
    assert describe(vgg)["predictions"]["flops_saved_percent"] == 0


def test_its_control_is_a_baseline_at_a_constant_rate(run):
    control = replace(of_family(run, "vgg"), method=BaselineOptions(annealing="constant"))
    assert (rates(control) == 0.1).all()
    assert control.baseline_run.method.annealing == "cosine"
    assert "_baseline-constant_" in control.id


def test_the_control_of_a_shorter_run_is_as_short():
    published = FreezeOutOptions(compat="reference", epoch_share=0.5)
    assert published.control("vgg") == BaselineOptions(annealing="constant", epoch_share=0.5)


@pytest.mark.parametrize(("share", "text"), [(0.85, "85%"), (0.125, "12.5%"), (0.025, "2.5%")])
def test_shares_of_the_steps_are_told_apart_in_names(share, text):
    method = BaselineOptions(epoch_share=share)
    assert method.label() == f"baseline, {text} of the steps"
    assert method.point() == text


def test_with_a_store_matched_flops_are_those_without_it():
    plain = FreezeOutOptions(match_time=True, views=4)
    stored = FreezeOutOptions(match_time=True, views=4, precompute=True)
    assert "rates, equal FLOPs, 4 views" in plain.title()
    assert "rates, equal FLOPs without a store, 4 views, stored" in stored.title()


def test_the_published_vgg_is_compared_with_its_control(fobench, tiny, tmp_path, caplog):
    text = TINY.replace('"densenet"\ndepth = 10\ngrowth_rate = 4', '"vgg"\nwidth = 0.05').replace(
        "epoch_share = [1.0, 0.5]", 'annealing = ["cosine", "constant"]'
    )
    tiny.write_text(text.replace("t0 = [0.3, 1.0]", 't0 = 0.3\ncompat = "reference"'))
    words = ("run", tiny, "--device", "cpu", "--set", "train.epochs=1", "--set", "train.lr=1e-3")
    assert fobench(*words).exit_code == 0
    assert "lacks the control" not in caplog.text
    found, _ = read_experiment(tmp_path / "results" / "tiny")
    errors = {run.id: run.epochs[-1].test_error for run in found}
    (published,) = (run for run in found if run.record["control"])
    text = fobench("report", "results/tiny").output.partition("Beside their own control\n")[2]
    row = next(line for line in text.splitlines() if "as the reference code does" in line)
    change = errors[published.id] - errors[published.record["control"]]
    assert f"| {round(change, 1) + 0.0:+.1f} |" in row
    tiny.write_text(tiny.read_text().replace('["cosine", "constant"]', '"cosine"'))
    assert fobench(*words).exit_code == 0
    assert "lacks the control of one of its methods: baseline at a constant rate" in caplog.text


def test_constant_rates_go_on_after_a_checkpoint(run):
    control = replace(run, method=BaselineOptions(annealing="constant"))
    network = build_network(run)
    optimizer, other = (build_optimizer(network, run.train) for _ in range(2))
    method, resumed = (
        control.method.start(network, each, control.info(len(network)))
        for each in (optimizer, other)
    )
    other.param_groups[0]["lr"] = 7.0
    resumed.load_state_dict(method.state_dict())
    resumed.step()
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.1


def test_controls_that_are_not_asked_for_change_no_run_id(run):
    """Results from before there were controls still belong."""
    assert run.id == "densenet-10-4_synthetic_baseline_seed0-" + run.id[-8:]
    plain = freezeout(run)
    assert plain.id == replace(plain, method=FreezeOutOptions(compat="none")).id
    assert run.id == replace(run, method=BaselineOptions(annealing="cosine")).id


def test_the_controls_train(fobench, tiny, tmp_path):
    tiny.write_text(
        TINY.replace("epoch_share = [1.0, 0.5]", 'annealing = ["cosine", "constant"]').replace(
            "t0 = [0.3, 1.0]", 't0 = 0.3\ncompat = ["none", "reference"]'
        )
    )
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    assert len(list(tmp_path.glob("results/tiny/*/run.json"))) == 4
    text = fobench("report", "results/tiny").output
    assert "baseline at a constant rate" in text
    assert "as the reference code does" in text
    assert fobench("plot", "results/tiny", "--kind", "all").exit_code == 0
