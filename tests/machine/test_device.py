"""What all work on a device depends on."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from fobench.errors import UserError
from fobench.experiment.options import TrainOptions
from fobench.machine import device as devices
from fobench.machine import gpu
from fobench.machine.device import autocast, prepare, require_supported, step_mode

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def settings(**options) -> TrainOptions:
    return TrainOptions(epochs=1, batch_size=2, **options)


def test_steps_are_captured_on_cuda_unless_said_otherwise():
    assert step_mode(CUDA, settings()) == "graph"
    assert step_mode(CPU, settings()) == "eager"
    assert step_mode(CUDA, settings(step="eager")) == "eager"
    assert step_mode(CUDA, settings(step="graph")) == "graph"


def test_what_a_processor_cannot_do_is_refused_all_at_once():
    with pytest.raises(UserError) as refused:
        require_supported(CPU, settings(precision="tf32", step="graph"))
    first, second = refused.value.problems
    assert 'precision = "tf32" is for CUDA devices' in first
    assert 'step = "graph" captures CUDA graphs' in second
    require_supported(CUDA, settings(precision="tf32", step="graph"))
    require_supported(CPU, settings(precision="bfloat16", step="eager"))


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True)])
def test_precision_sets_tf32_for_convolutions_and_products_alike(precision, allowed, monkeypatch):
    """Torch's defaults differ: on for the ones, off for the others."""
    flags = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    monkeypatch.setattr(devices, "leave_default_stream", lambda device: None)
    try:
        prepare(CUDA, settings(precision=precision))
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


def test_deterministic_runs_choose_no_algorithm_by_its_speed_and_fill_no_memory():
    try:
        prepare(CPU, settings(deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert not torch.utils.deterministic.fill_uninitialized_memory
    finally:
        prepare(CPU, settings())
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


def test_bfloat16_rounds_products_and_leaves_the_weights():
    weight, x = torch.randn(3, 3, requires_grad=True), torch.randn(2, 3)
    with autocast(CPU, "bfloat16"):
        assert (x @ weight).dtype == torch.bfloat16
    with autocast(CPU, "float32"):
        assert (x @ weight).dtype == torch.float32
    assert weight.dtype == torch.float32


def test_the_workspace_of_cublas_has_a_fixed_size_before_torch_starts():
    """Of importing the command line, which imports torch later."""
    code = (
        "import os, sys, fobench.machine\n"
        "print(os.environ['CUBLAS_WORKSPACE_CONFIG'], 'torch' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == [":4096:8", "False"]


def test_the_driver_is_that_of_the_kernel_module_else_what_nvidia_smi_says(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(gpu, "KERNEL_MODULE", tmp_path / "none")
    monkeypatch.setattr(
        gpu.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="580.1\n580.1\n")
    )
    assert gpu.driver() == "580.1"
    (tmp_path / "version").write_text("575.2\n")
    assert gpu.driver() == "575.2"
    (tmp_path / "version").unlink()
    monkeypatch.setattr(gpu, "KERNEL_MODULE", tmp_path / "module")
    (tmp_path / "module").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.3.01  Tue\nGCC version: gcc 12.2.0\n"
    )
    assert gpu.driver() == "570.3.01"
    (tmp_path / "module").unlink()

    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(gpu.subprocess, "run", missing)
    assert gpu.driver() is None


def test_cards_of_one_name_are_told_apart(monkeypatch):
    cards = [SimpleNamespace(name="H100", uuid=f"GPU-{number}") for number in range(2)]
    cards.append(SimpleNamespace(name="H100"))
    found = []
    for card in cards:
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, card=card: card)
        found.append(gpu.describe(CUDA))
    assert {each["gpu"] for each in found} == {"H100"}
    assert len({each["gpu_uuid"] for each in found}) == 3
    assert found[2]["gpu_uuid"] is None, "a platform that does not say"
    assert "GPU-0" not in str(found[0])
    assert gpu.describe(CPU) == {"gpu": None, "gpu_uuid": None}
