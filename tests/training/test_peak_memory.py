"""The memory that a run takes at its peak, told before it is trained."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fobench.activations.plan import StorePlan
from fobench.costs.unit_costs import output_bytes, unit_costs_of
from fobench.machine.memory import peak_memory, reset_peak_memory
from fobench.methods import EnsembleOptions
from fobench.training import peak_memory as told
from fobench.training.gradients import Gradients
from fobench.training.optimizer import build_optimizer, update
from fobench.training.state import Training
from fobench.training.warmup import warm_up, weight_bytes
from tests.activations.small_runs import CPU, loaded, small_run

GB = 10**9


@pytest.fixture
def residual(tiny):
    return small_run(tiny, "wideresnet")


def messages(training: Training, caplog, monkeypatch, reach: int = 10 * GB) -> list[tuple]:
    monkeypatch.setattr(told, "memory_in_reach", lambda device: reach)
    caplog.clear()
    caplog.set_level("INFO")
    told.log_peak_memory(training)
    return [(each.levelname, each.getMessage()) for each in caplog.records]


def test_the_warm_up_takes_what_training_does_without_its_copy(residual):
    """Of weights so large that a copy more or less would show."""
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    large = torch.zeros(10**8)
    large.fill_(1)
    peak = peak_memory(CPU)
    del large
    reset_peak_memory(CPU)
    if not before <= peak_memory(CPU) < peak - 10**8:
        pytest.skip("the peak of this process cannot be reset")
    data, side = loaded(residual), 16_000
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, side), nn.Linear(side, 10))
    optimizer = build_optimizer(network, residual.train)
    found = warm_up(network, optimizer, data, residual)
    reset_peak_memory(CPU)
    for _ in range(2):
        loss = cross_entropy(network(torch.ones(10, 3, 16, 16)), torch.zeros(10).long())
        update(optimizer, loss, Gradients(list(network.parameters())), None)
    assert found == pytest.approx(peak_memory(CPU), abs=weight_bytes(network) / 2)


def test_stores_and_members_are_added(residual, caplog, monkeypatch):
    plan = StorePlan(builds=((3, 1),), place="host memory", room=3 * GB, peak_bytes=2 * GB)
    training = Training(residual, loaded(residual), CPU, plan)
    training.warmup_peak_bytes = GB
    assert messages(training, caplog, monkeypatch) == [
        ("INFO", "memory at the peak: about 3 GB, stores of 2 GB included; 10 GB can be had")
    ]
    training.activations.plan = replace(plan, place="scratch file")
    assert messages(training, caplog, monkeypatch) == [
        ("INFO", "memory at the peak: about 1 GB; 10 GB can be had")
    ]
    ensemble = replace(residual, method=EnsembleOptions(members=4))
    training.run, training.warmup_peak_bytes = ensemble, 0
    weights = weight_bytes(training.network)
    assert told.member_bytes(training) == 2 * 4 * weights, "kept, and loaded again to be tested"


def test_more_than_there_is_is_a_warning(residual, caplog, monkeypatch):
    training = Training(residual, loaded(residual), CPU)
    training.warmup_peak_bytes = 2 * GB
    assert messages(training, caplog, monkeypatch, reach=GB) == [
        (
            "WARNING",
            "memory at the peak: about 2 GB, but only 1 GB can be had: if the run fails, lower "
            "train.batch_size, or free memory",
        )
    ]


def test_each_run_is_told_of_once_before_its_first_epoch(fobench, tiny, caplog):
    caplog.set_level("INFO")
    words = ("--set", "train.epochs=2", "--only", "freezeout", "--device", "cpu")
    assert fobench("run", tiny, *words).exit_code == 0
    lines = [line for line in caplog.messages if line.startswith(("memory", "epoch"))]
    assert [line.split()[1] for line in lines] == ["that", "at", "1/2:", "2/2:"] * 2


def test_the_least_memory_is_told_before_any_is_taken(fobench, tiny, caplog, monkeypatch):
    """What fails for lack of memory, or is killed by the system, fails in the warm-up already."""

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr("fobench.training.execute.Training", no_memory)
    monkeypatch.setattr(told, "available_memory", lambda _: (1000, 0))
    assert fobench("run", tiny, "--only", "baseline", "--device", "cpu").exit_code == 1
    line = next(each for each in caplog.records if each.message.startswith("memory that"))
    assert "but only 1 KB can be had: if the run fails, lower train.batch_size" in line.message
    assert line.levelname == "WARNING"


def test_the_least_memory_is_that_of_weights_and_outputs(residual, tiny):
    """Less than a step takes, and not nothing; outputs that units pass on count once."""
    small, large = (
        replace(residual, train=residual.train.replace(batch_size=size)) for size in (2, 4)
    )
    weights = 4 * sum(cost.parameters for cost in unit_costs_of(residual))
    outputs = told.least_bytes(large) - told.least_bytes(small)
    assert told.least_bytes(small) - outputs == 3 * weights, "with gradients and momentum"
    assert outputs == 2 * sum(cost.activation_bytes for cost in unit_costs_of(residual))
    adamw = replace(small, train=small.train.replace(optimizer="adamw", precision="bfloat16"))
    assert told.least_bytes(adamw) == 4 * weights + outputs // 2
    rounded = replace(small, train=small.train.replace(precision="tf32"))
    assert told.least_bytes(rounded) == told.least_bytes(small), "TF32 is kept as float32"
    with torch.device("meta"):
        passing = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Identity(), nn.Flatten(), nn.Linear(12, 1))
    assert output_bytes(passing, (2, 2, 3)) == 4 * (12 + 1)


def test_runs_at_once_share_the_memory(residual, caplog, monkeypatch):
    training = Training(residual, loaded(residual), CPU)
    training.warmup_peak_bytes = 2 * GB
    monkeypatch.setattr(told, "memory_in_use", lambda device: GB - 1000)
    monkeypatch.setattr(told, "memory_in_reach", lambda device: 10 * GB)
    caplog.clear()
    told.log_least_memory(residual, CPU, share=GB)
    told.log_peak_memory(training, share=GB)
    least, peak = caplog.messages
    each = "can be had by each of the runs at once: if the run fails, give fewer --jobs, lower"
    assert f"but only 1 KB {each}" in least
    assert f"but only 1 GB {each}" in peak
