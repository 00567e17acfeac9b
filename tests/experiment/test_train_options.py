"""The options of an optimizer: which go together, and what a warm-up needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.options import TrainOptions
from fobench.freezing.schedule import warmup_factor, warmup_steps
from tests.experiment.test_config import edit, problems_of

DATA = open_synthetic("synthetic", 55, 20)
ADAMW = 'optimizer = "adamw"\nweight_decay = 0.05'


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        (
            'optimizer = "adamw"',
            [
                'lr is missing: its default is for SGD; give one for optimizer = "adamw", such as '
                "lr = 1e-3",
                "weight_decay is missing: its default is for SGD; give one for optimizer = "
                '"adamw", such as weight_decay = 0.05',
            ],
        ),
        (
            f"{ADAMW}\nlr = 0.1\nmomentum = 0\nnesterov = false",
            [
                f'{each}: it is an option of optimizer = "sgd": remove it, or set that optimizer'
                for each in ("momentum = 0.0", "nesterov = false")
            ],
        ),
        (
            "betas = [0.9, 0.95]\neps = 1e-6",
            [
                f'{each}: it is an option of optimizer = "adamw": remove it, or set that optimizer'
                for each in ("betas = [0.9, 0.95]", "eps = 1e-06")
            ],
        ),
        (
            f"{ADAMW}\nlr = 1\nbetas = [0.9, 1.0]",
            ["betas = [0.9, 1.0]: give [number, number], each of at least 0 and below 1"],
        ),
        (
            f"{ADAMW}\nlr = 1\nbetas = [0.9]\nepohcs = 2\neps = 0.0",
            [
                "betas = [0.9]: give [number, number], each of at least 0 and below 1",
                "eps = 0.0: give a number above 0 and at most 1",
                "epohcs is not known: did you mean epochs?",
            ],
        ),
        (
            'optimizer = "adamW"\nmomentum = 0.5\nbetas = [0.9, 0.95]',
            ["optimizer = 'adamW': give 'sgd' or 'adamw'"],
        ),
        (
            "label_smoothing = 1.0\nclip_grad_norm = 0.0\nwarmup_epochs = -1.0",
            [
                "warmup_epochs = -1.0: give a number of at least 0 and at most 1000000",
                "clip_grad_norm = 0.0: give a number above 0 and at most 1e+06",
                "label_smoothing = 1.0: give a number of at least 0 and below 1",
            ],
        ),
    ],
)
def test_options_that_do_not_go_together_are_named_all_at_once(tiny, lines, problems):
    found = problems_of(edit(tiny, "epochs = 3", f"epochs = 3\n{lines}"))
    assert [each.partition("[train] ")[2] for each in found] == problems


def test_adamw_has_its_options(tiny):
    edit(tiny, "epochs = 3", f"epochs = 3\n{ADAMW}\nlr = 0.1\nbetas = [0.8, 0.95]")
    train = load(tiny).train
    assert (train.lr, train.betas, train.eps) == (0.1, (0.8, 0.95), 1e-8)
    assert train.replace(epochs=4).lr == 0.1
    assert load(tiny, ["train.betas=[0.5, 0]"]).train.betas == (0.5, 0.0)


def test_what_is_no_table_is_refused_like_any_wrong_value():
    with pytest.raises(ValidationError):
        TrainOptions.model_validate(3)


def test_a_method_with_a_rate_of_its_own_needs_one_for_adamw(tiny):
    edit(tiny, "epochs = 3", f"epochs = 3\n{ADAMW}\nlr = 1e-3")
    edit(tiny, 'scaling = "linear"\nt0 = [0.3, 1.0]', "cycles = 3")
    edit(tiny, '"freezeout"', '"snapshot"')
    assert problems_of(tiny) == [
        f"{tiny}: [[method]] snapshot: its lr = 0.2 is for SGD; give another lr for "
        'optimizer = "adamw"'
    ]
    edit(tiny, "cycles = 3", "cycles = 3\nlr = 2e-3")
    assert load(tiny).methods[-1].lr == 2e-3


def test_options_at_their_defaults_change_no_run_id():
    defaults = {
        "optimizer": "sgd",
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "decay_on": "all",
        "warmup_epochs": 0.0,
        "clip_grad_norm": None,
        "label_smoothing": 0.0,
    }
    options = TrainOptions(epochs=3, batch_size=10, **defaults)
    assert options.non_defaults() == {"epochs": 3, "batch_size": 10}


@pytest.mark.parametrize(
    ("method", "trained", "fits", "refused"),
    [
        ("", "baseline trains 8", 1.4, {1.6: 8, 1.8: 9}),
        ('[[method]]\nname = "ensemble"\nmembers = 3', "ensemble trains 5", 0.8, {1.0: 5, 1.8: 9}),
    ],
)
def test_a_warm_up_over_all_that_a_method_trains_is_refused(tiny, method, trained, fits, refused):
    """Of 15 steps; the shorter baseline has 8 of them, a member of the ensemble 5."""
    tiny.write_text(tiny.read_text() + method)
    expand(load(tiny, [f"train.warmup_epochs={fits}"]), DATA)
    for epochs, steps in refused.items():
        with pytest.raises(UserError) as caught:
            expand(load(tiny, [f"train.warmup_epochs={epochs}"]), DATA)
        told = f"warmup_epochs = {epochs:g} takes {steps} steps, but [[method]] {trained} from its"
        assert any(f"[train] {told} start on" in each for each in caught.value.problems)


@given(st.integers(0, 400), st.integers(1, 50))
def test_steps_of_a_warm_up_are_rounded_half_up(hundredths, per_epoch):
    found = warmup_steps(hundredths / 100, per_epoch)
    assert found == (2 * hundredths * per_epoch + 100) // 200


@given(st.integers(0, 60))
def test_the_factor_rises_in_equal_parts_to_one(warmup):
    factors = [warmup_factor(step, warmup) for step in range(warmup + 3)]
    assert factors == [(step + 1) / warmup for step in range(warmup)] + [1.0] * 3
