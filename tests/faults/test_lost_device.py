"""A device that no longer works in the process, as after an illegal memory access.

Every later run would fail, so the sweep stops, and the same command continues.
"""

import json

import pytest
import torch

from fobench.machine import environment
from fobench.machine.device import is_lost
from fobench.records.runs import read_run
from fobench.training import execute, failure
from tests.faults.conftest import after_steps
from tests.faults.kills import differences

ILLEGAL = "CUDA error: an illegal memory access was encountered"


def break_down(*_):
    raise RuntimeError(f"{ILLEGAL}\nFor debugging consider …")


def fail(*_):
    raise AssertionError("the device is used after it was lost")


@pytest.fixture
def losing(monkeypatch):
    """Patches a device that is lost when it breaks down, and may not be used then."""

    def patch(context: pytest.MonkeyPatch) -> None:
        def is_lost_now(device: torch.device) -> bool:
            context.setattr(execute, "release_memory", fail)
            context.setattr(environment, "describe", fail)
            return True

        context.setattr(failure, "is_lost", is_lost_now)

    return patch


def records_in(folder) -> dict[str, dict]:
    return {
        path.parent.name: json.loads(path.read_text())
        for path in folder.glob("results/tiny/*/run.json")
    }


def test_the_sweep_stops_says_so_and_continues_with_the_same_command(
    fobench, tiny, tmp_path, tiny_results, monkeypatch, losing
):
    with monkeypatch.context() as patch:
        losing(patch)
        after_steps(patch, 1, break_down)
        ran = fobench("run", tiny, "--device", "cpu")
    assert ran.exit_code == 2
    ((failed, record),) = records_in(tmp_path).items()
    assert record["status"] == "failed"
    assert ILLEGAL in record["reason"]
    assert record["reason"].endswith("; the device was lost")
    (message,) = (line for line in ran.output.splitlines() if line.startswith("Error: "))
    assert message.startswith(f"Error: {failed} failed, and the device does not work any more")
    assert f"in this process (RuntimeError: {ILLEGAL}): the sweep stops here" in message
    assert "still to do: 3. Give the same command again" in message
    listed = fobench("run", tiny, "--device", "cpu", "--dry-run").output
    assert listed.count("to do  ") == 4, "the one that failed is tried again"
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    for alone in tiny_results.glob("*/run.json"):
        read = read_run(tmp_path / "results" / "tiny" / alone.parent.name)
        assert differences(read_run(alone.parent), read) == []
        went_on = [each["epochs"] for each in read.record["resumed_at"]]
        assert went_on == ([1] if read.id == failed else [])


def test_lost_while_a_plan_is_measured_it_fails_that_run_alone(
    fobench, tiny, tmp_path, monkeypatch, losing
):
    """Its record describes the device, which may no longer answer."""
    with monkeypatch.context() as patch:
        losing(patch)
        patch.setattr(execute, "store_plan_of", break_down)
        ran = fobench("run", tiny, "--device", "cpu")
    assert ran.exit_code == 2
    (record,) = records_in(tmp_path).values()
    assert record["status"] == "failed"
    assert record["environment"]["device"] == "cpu"


@pytest.mark.slow
def test_a_forced_sweep_keeps_the_earlier_results_of_later_runs(
    fobench, tiny, tmp_path, monkeypatch, losing
):
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    before = records_in(tmp_path)
    with monkeypatch.context() as patch:
        losing(patch)
        after_steps(patch, 0, break_down)
        ran = fobench("run", tiny, "--device", "cpu", "--force")
    assert ran.exit_code == 2
    assert "with any earlier results: 3. Give the same command without --force" in ran.output
    changed = [name for name, record in records_in(tmp_path).items() if record != before[name]]
    assert len(changed) == 1
    assert fobench("run", tiny, "--device", "cpu").exit_code == 0
    after = records_in(tmp_path)
    assert [name for name in before if after[name] != before[name]] == changed


def test_a_device_is_lost_if_it_cannot_be_waited_for(monkeypatch):
    assert not is_lost(torch.device("cpu"))
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    assert not is_lost(torch.device("cuda"))
    assert waited == [torch.device("cuda")]
    monkeypatch.setattr(torch.cuda, "synchronize", break_down)
    assert is_lost(torch.device("cuda"))
