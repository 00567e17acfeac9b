"""Training in bfloat16: float32 weights, and stores that keep what the network computed."""

from dataclasses import replace

import pytest
import torch

from fobench.activations.plan import STORE_NOTHING
from fobench.experiment.run import Run
from fobench.training.loop import evaluate
from fobench.training.state import Training
from tests.activations.small_runs import (
    CPU,
    augmented,
    first_images,
    learned,
    loaded,
    method,
    plan_of_all,
    same_weights,
    train_all,
)


def in_precision(run: Run, precision: str) -> Run:
    return replace(run, train=run.train.replace(precision=precision))


def test_bfloat16_trains_float32_weights_to_about_the_same_loss(run):
    _, rows = train_all(in_precision(run, "float32"), STORE_NOTHING)
    training, rounded = train_all(in_precision(run, "bfloat16"), STORE_NOTHING)
    assert {each.dtype for each in training.network.parameters()} == {torch.float32}
    momenta = [state["momentum_buffer"] for state in training.optimizer.state.values()]
    assert {each.dtype for each in momenta} == {torch.float32}
    assert learned(rounded) != learned(rows), "nothing was rounded"
    assert rounded[-1].train_loss == pytest.approx(rows[-1].train_loss, rel=0.1)
    assert rounded[-1].test_loss == pytest.approx(rows[-1].test_loss, rel=0.3)


def test_evaluation_is_in_the_precision_of_training(run):
    training = Training(run, loaded(run), CPU)
    test = training.data.test
    exact, rounded = (
        evaluate(training.network, test, 10, precision)[0] for precision in ("float32", "bfloat16")
    )
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)
    assert evaluate(training.network, test, 10) == evaluate(training.network, test, 10, "float32")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_store_that_holds_bfloat16_changes_no_bit(run, dtype):
    """It returns what the units would have returned, in their type."""
    run = in_precision(augmented(run, "random"), "bfloat16")
    plain, rows = train_all(method(run, views=2), STORE_NOTHING)
    storing = method(run, views=2, precompute=True, store=dtype)
    training, stored_rows = train_all(storing, plan_of_all(storing))
    assert learned(stored_rows) == learned(rows)
    assert same_weights(training, plain)
    assert max(row.cached_units for row in stored_rows) > 1


def test_what_is_read_from_a_store_has_the_type_in_which_units_compute(run):
    storing = in_precision(method(augmented(run, "none"), precompute=True), "bfloat16")
    plan = plan_of_all(storing)
    training = Training(storing, loaded(run), CPU, plan)
    training.network.eval()
    epoch, cut = plan.builds[0]
    training.activations.start(epoch)
    values, prefix = training.activations.inputs(first_images(), cut)
    assert prefix.start == prefix.end == cut
    assert values.dtype == torch.bfloat16


def test_the_precision_is_part_of_the_run_unless_it_is_float32(run):
    assert in_precision(run, "float32").id == run.id
    assert len({in_precision(run, each).id for each in ("float32", "tf32", "bfloat16")}) == 3
