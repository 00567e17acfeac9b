"""What a user can do about errors of torch that are no mistake of the program's."""

from collections.abc import Iterator

from fobench.machine.memory import is_out_of_memory

# Of torch, by name, as to import what raises them takes long.
NO_COMPILER = {"InvalidCxxCompiler", "CppCompileError", "TritonMissing"}


def remedy(error: Exception) -> str | None:
    """What went wrong and what to do, in a few words; None for any other error."""
    if is_out_of_memory(error):
        return "out of memory: lower train.batch_size, or free memory"
    if "does not have a deterministic implementation" in str(error):
        return (
            "train.deterministic = true, which a layer of the network cannot be on this device: "
            "leave the option out, or replace the layer"
        )
    if any(type(each).__name__ in NO_COMPILER for each in with_causes(error)):
        return (
            "torch.compile failed: train.fuse_batchnorm takes a C++ compiler, and on a GPU Triton: "
            "install them, or leave the option out"
        )
    return None


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from, or wraps as torch.compile does."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        found = left.pop()
        if isinstance(found, BaseException) and not any(found is each for each in seen):
            seen.append(found)
            left += [found.__cause__, found.__context__, getattr(found, "inner_exception", None)]
    yield from seen
