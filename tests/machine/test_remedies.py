"""Errors of torch that the user can mend are told from others."""

import pytest
import torch

from fobench.machine.remedies import remedy


@pytest.mark.parametrize(
    ("error", "option"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), "train.batch_size"),
        (MemoryError(), "train.batch_size"),
        (
            RuntimeError(
                "adaptive_max_pool2d_backward_cuda does not have a deterministic implementation, "
                "but you set 'torch.use_deterministic_algorithms(True)'."
            ),
            "train.deterministic",
        ),
    ],
)
def test_a_message_names_the_option(error, option):
    assert option in remedy(error)


def test_torchs_own_words_are_known():
    """As on the CPU, where few operations lack a deterministic implementation."""
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError) as raised:
            torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
    finally:
        torch.use_deterministic_algorithms(False)
    assert "train.deterministic" in remedy(raised.value)


def test_a_compiler_that_is_missing_is_known_also_within_another_error():
    from torch._inductor.exc import InvalidCxxCompiler

    missing = InvalidCxxCompiler()
    assert "train.fuse_batchnorm" in remedy(missing)
    wrapping = RuntimeError("backend='inductor' raised")
    wrapping.inner_exception = missing
    assert "train.fuse_batchnorm" in remedy(wrapping)
    raised = RuntimeError("while compiling")
    raised.__cause__, missing.__context__ = missing, raised  # a circle
    assert "train.fuse_batchnorm" in remedy(raised)


def test_what_else_torch_cannot_compile_is_ours():
    from torch._dynamo.exc import Unsupported

    assert remedy(Unsupported("a graph break", "")) is None


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), ValueError()])
def test_other_errors_are_ours(error):
    assert remedy(error) is None
