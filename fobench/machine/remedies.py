"""What a user can do about errors of torch that are no mistake of the program's."""

from fobench.machine.memory import is_out_of_memory


def remedy(error: Exception) -> str | None:
    """What went wrong and what to do, in a few words; None for any other error."""
    if is_out_of_memory(error):
        return "out of memory: lower train.batch_size, or free memory"
    if "does not have a deterministic implementation" in str(error):
        return (
            "train.deterministic = true, which a layer of the network cannot be on this device: "
            "leave the option out, or replace the layer"
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return (
            "torch.compile failed: train.fuse_batchnorm takes a C++ compiler, and on a GPU Triton: "
            "install them, or leave the option out"
        )
    return None
