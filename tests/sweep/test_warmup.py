"""What a warm-up takes from units that freeze early, against sums worked out apart."""

import math
import re

import pytest

from fobench.experiment.config import load
from fobench.sweep.plan import plan_all
from fobench.sweep.warmup import log_shortened_by_warmup, share_after_warmup

LINEAR = ["train.epochs=6", "experiment.seeds=[0, 1]"]  # t0 = 0.3 of 30 steps: unit 0 freezes at 9


def runs_of(tiny, tmp_path, *changes: str):
    [plan] = plan_all([load(tiny, [*LINEAR, *changes])], tmp_path, tmp_path)
    return plan.due()


def left_of(freeze_step: int, warmup: int) -> float:
    """Of a cosine over the first steps of a run, what a linear warm-up leaves."""
    rates = [1 + math.cos(math.pi * k / freeze_step) for k in range(freeze_step)]
    factors = [min(1, (k + 1) / warmup) for k in range(freeze_step)]
    return sum(a * b for a, b in zip(rates, factors, strict=True)) / sum(rates)


@pytest.mark.parametrize(("epochs", "warmup"), [("0", 1), ("1", 5), ("2", 10), ("2.8", 14)])
def test_a_unit_keeps_the_share_that_its_own_cosine_says(tiny, tmp_path, epochs, warmup):
    runs = runs_of(tiny, tmp_path, f"train.warmup_epochs={epochs}")
    (run,) = {run.method: run for run in runs if "t0.30" in run.id}.values()
    shares = share_after_warmup(run)
    assert shares[0] == pytest.approx(left_of(9, warmup))
    assert shares[-1] == pytest.approx(left_of(30, warmup))
    assert shares == sorted(shares), "the earlier it freezes, the more it loses"


def test_the_page_says_what_is_left_at_one_and_two_lengths_of_the_warm_up():
    assert left_of(1000, 1000) == pytest.approx(0.30, abs=0.005)
    assert left_of(2000, 1000) == pytest.approx(0.55, abs=0.005)


def test_a_method_that_loses_more_than_half_of_a_unit_is_named_once(tiny, tmp_path, caplog):
    assert left_of(9, 6) > 0.5 > left_of(9, 8)
    for warmup, warnings in (("1.2", 0), ("1.6", 1)):
        runs = runs_of(tiny, tmp_path, f"train.warmup_epochs={warmup}")
        caplog.clear()
        log_shortened_by_warmup(runs, "tiny")
        assert len(caplog.messages) == warnings
    assert re.fullmatch(
        r"tiny: in FreezeOut .*t0 = 0\.3.*, the warm-up takes up to 5\d % .* and more than half "
        r"in 1 of \d+ units: .* a lower train\.warmup_epochs avoids it",
        caplog.messages[0],
    )
