"""The file of a profile: what it depends on, written, read back, refused if it is damaged."""

import json
import math
from dataclasses import replace

import pytest
import torch

from fobench.costs.profile import conditions, path_of, read_profile, write_profile
from fobench.costs.unit_costs import unit_costs_of
from fobench.errors import UserError
from fobench.machine import environment
from fobench.methods import FreezeOutOptions
from fobench.models import FAMILIES
from tests.costs.test_run_time import profile
from tests.networks import EXAMPLES

HERE = environment.describe(torch.device("cpu"))


def file_of(run, folder, machine=HERE, **place):
    return path_of(folder, conditions(run, machine, **place))


def test_all_methods_and_seeds_share_a_profile(run, tmp_path):
    path = file_of(run, tmp_path)
    others = [
        replace(run, seed=3),
        replace(run, method=FreezeOutOptions(t0=0.3)),
        replace(run, train=run.train.replace(epochs=99, lr=0.3, warmup_epochs=2.0)),
    ]
    assert {file_of(each, tmp_path) for each in others} == {path}


def test_what_changes_a_step_has_a_profile_of_its_own(run, tmp_path):
    model = next(FAMILIES[name](**EXAMPLES[name]) for name in EXAMPLES if name != run.model.name)
    others = [
        file_of(replace(run, train=run.train.replace(batch_size=15)), tmp_path),
        *(
            file_of(replace(run, train=run.train.replace(**change)), tmp_path)
            for change in (
                {"precision": "bfloat16"},
                {"optimizer": "adamw"},
                {"clip_grad_norm": 1.0},
                {"decay_on": "matrices"},
            )
        ),
        file_of(replace(run, data=run.data.replace(augment="none")), tmp_path),
        file_of(replace(run, model=model), tmp_path),
        *(
            file_of(run, tmp_path, HERE | change)
            for change in ({"threads": 99}, {"host": "other"}, {"gpu": "H100"}, {"step": "graph"})
        ),
        *(file_of(run, tmp_path, images=place) for place in ("host memory", "file")),
    ]
    assert len({*others, file_of(run, tmp_path)}) == len(others) + 1


def test_equal_cards_share_a_profile(run, tmp_path):
    card = HERE | {"gpu_uuid": "another", "driver": "another"}
    assert file_of(run, tmp_path, card) == file_of(run, tmp_path)


def test_a_profile_is_read_as_it_was_written(run, tmp_path):
    path = file_of(run, tmp_path)
    assert read_profile(path, run) is None
    made = profile(*[float(each) for each in range(len(unit_costs_of(run)), 0, -1)])
    write_profile(path, made, run, conditions(run, HERE))
    assert read_profile(path, run) == made
    content = json.loads(path.read_text())
    # Beside it, the same steps by FLOPs and by the paper's estimate.
    assert content["step_flops"][0] == max(content["step_flops"])
    assert content["paper_step_cost"][0] == 1
    assert content["units"] == [each.name for each in unit_costs_of(run)]


def spoil_seconds(content):
    content["profile"]["steps"][0]["median"] = -1.0


def spoil_units(content):
    for key in ("steps", "forward"):
        content["profile"][key].pop()


def spoil_format(content):
    content["format"] = 99


def spoil_keys(content):
    del content["profile"]["drift"]


def spoil(key, value):
    return lambda content: content["profile"].update({key: value})


SPOILT = [
    *(spoil_seconds, spoil_units, spoil_format, spoil_keys),
    *(spoil("evaluation", "x"), spoil("pixels", math.nan), spoil("short_step", -5.0)),
    *(spoil("short_step", None), spoil("peak_memory_bytes", None), spoil("captures", [1.0])),
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_profile_is_refused(run, tmp_path, spoil):
    path = file_of(run, tmp_path)
    write_profile(path, profile(*[1.0] * len(unit_costs_of(run))), run, conditions(run, HERE))
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not hold a valid profile"):
        read_profile(path, run)
