"""Cuts a network into units: recorded, cut where little crosses, joined to blocks, checked."""

from collections.abc import Sequence

import torch
from torch import nn

from fobench.cutting.by_hand import cuts_behind
from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.cuts import Flow, common_cuts
from fobench.cutting.evaluation import require_function_of_image
from fobench.cutting.failures import runs, why_failed
from fobench.cutting.notes import notes_on
from fobench.cutting.prepare import memory_format_for, prepared
from fobench.cutting.record import on_meta, record
from fobench.cutting.recorded_unit import Program, RecordedUnit, name_of, program
from fobench.cutting.refusals import CannotCutError, CannotRecordError, FailedError
from fobench.cutting.segments import (
    Grouping,
    Segment,
    join_sharing,
    join_untrained_end,
    segments_between,
)
from fobench.cutting.separate import require_own_memory, separate_stateless
from fobench.cutting.shared_buffers import require_own_buffers
from fobench.cutting.stages import is_layer, prefixes, stages
from fobench.cutting.tape import BATCH, Value
from fobench.cutting.unsaved import unsaved_state
from fobench.cutting.verify import differences

MODES = TRAINING, EVALUATION = 0, 1


def cut_network(
    network: nn.Module,
    image_shape: Sequence[int],
    units: str | Sequence[str] = "auto",
    check: bool = True,
) -> CutNetwork:
    """The network as a sequence of units that compute what it computes, for images [H, W, C].

    `units` are found ("auto"), the network's children ("children"), or end behind the modules at
    the given paths. With `check`, what they compute is compared with the network, on the CPU.

    Raises CannotCutError, with the reason and what to do.
    """
    network = prepared(network, image_shape)
    require_own_memory(network)
    memory_format = memory_format_for(network, image_shape)
    meta = on_meta(network)
    paths = [name for name, _ in network.named_children()] if units == "children" else units
    try:
        flows = record_both(meta, image_shape, paths, memory_format)
    except CannotRecordError as error:
        if isinstance(error, FailedError) and not runs(network, image_shape):
            raise CannotCutError(why_failed(network, image_shape, error)) from error
        raise CannotCutError(
            f"{name_of_class(network)} cannot be divided into units: {error}. {HOW_TO_MEND}"
        ) from error
    require_logits(network, flows)
    segments = segments_for(network, flows, units, paths)
    joined = join_sharing(segments, [held_by(network, flows, each) for each in segments])
    if len(joined) < 2:
        raise CannotCutError(why_one_unit(network, flows, units, len(segments)))
    ended = join_untrained_end(joined, [trains(network, flows, each) for each in joined])
    if len(ended) < 2:
        raise CannotCutError(f"{name_of_class(network)}: {ONE_UNIT_TRAINS}")
    built = build_units(network, flows, ended)
    sharing = [each for each in joined if each not in segments]
    merged = {name for name, each in zip(built, ended, strict=True) if each in sharing}
    cut = CutNetwork(
        network,
        built,
        memory_format,
        outputs=flows[TRAINING].tape.examples[flows[TRAINING].result[0]].shape[1],
        notes=notes_on(network, built, flows, merged),
    )
    require_own_buffers(cut, flows)
    separate_stateless(cut)
    if check:
        require_equal(network, cut, image_shape)
    return cut


def segments_for(
    network: nn.Module,
    flows: Sequence[Flow],
    units: str | Sequence[str],
    paths: str | Sequence[str],
) -> list[Segment]:
    """The stretches that become units, before those that share are joined."""
    if units == "auto":
        segments = segments_between(common_cuts(*flows))
    else:
        cuts = cuts_behind(network, flows, paths, are_named=units != "children")
        segments = segments_between(cuts)
    if isinstance(units, str):
        return Grouping(network, flows[TRAINING]).units(segments)
    return segments


def require_equal(network: nn.Module, cut: CutNetwork, image_shape: Sequence[int]) -> None:
    """Raises CannotCutError unless the units compute what the network does, also once resumed."""
    try:
        unsaved = unsaved_state(network, cut, image_shape)
        if not unsaved:
            require_function_of_image(network, cut.memory_format, image_shape)
        wrong = differences(network, cut, image_shape)
    except FailedError as error:
        raise CannotCutError(why_failed(network, image_shape, error)) from error
    if unsaved:
        raise CannotCutError(
            f"{name_of_class(network)}: its forward pass changes {unsaved[0]}, which its units "
            "or a resumed run would not do or know: make it a tensor of the state_dict, with "
            "register_buffer, and change it in place; or leave it out (draw random numbers from "
            "random, numpy.random or torch, not from a generator of its own)"
        )
    if wrong:
        # It is not recorded, and runs blocks twice, whose norms then move twice.
        twice = wrong == ["buffers in training mode"]
        mend = f"{'Switch gradient checkpointing off, if it is on. ' if twice else ''}{HOW_TO_MEND}"
        raise CannotCutError(
            f"{name_of_class(network)}: its units do not compute what it computes: "
            f"{', '.join(wrong)} differ. {mend}"
        )


ONE_UNIT_TRAINS = (
    "only its first unit has parameters that require gradients, and the last unit that trains "
    "never freezes: let more of them train, or cut within that unit"
)
HOW_TO_MEND = (
    'Give places to cut behind, such as units = ["layer1", "layer2"], or write the network as an '
    "nn.Sequential of its units; see docs/networks.md"
)


def name_of_class(network: nn.Module) -> str:
    return type(network).__name__


def opened_for(
    meta: nn.Module,
    image_shape: Sequence[int],
    paths: str | Sequence[str],
    memory_format: torch.memory_format,
) -> set[str]:
    """The paths of the modules to look into."""
    containers = {path for path, module in meta.named_modules() if type(module) is nn.Sequential}
    if not isinstance(paths, str):
        return {prefix for path in paths for prefix in prefixes(path)}
    everything = {path for path, module in meta.named_modules() if not is_layer(module)}
    meta.train()
    return containers | stages(meta, record(meta, image_shape, everything, memory_format))


def record_both(
    meta: nn.Module,
    image_shape: Sequence[int],
    paths: str | Sequence[str],
    memory_format: torch.memory_format,
) -> list[Flow]:
    """What the network does in training mode and in evaluation mode."""
    opened, flows = opened_for(meta, image_shape, paths, memory_format), []
    for training in (True, False):
        meta.train(training)
        flows.append(Flow(record(meta, image_shape, opened, memory_format)))
    return flows


def require_logits(network: nn.Module, flows: Sequence[Flow]) -> None:
    """Raises CannotCutError unless both modes return one tensor [B, classes]."""
    for flow, mode in zip(flows, ("training", "evaluation"), strict=True):
        result = flow.tape.result
        if not isinstance(result, Value):
            raise CannotCutError(
                f"{name_of_class(network)} returns a {type(result).__name__} in {mode} mode, not "
                "one tensor of class scores: switch off auxiliary heads, such as with options = "
                "{aux_logits = false}, or wrap it in a module that returns the scores alone"
            )
        shape = tuple(flow.tape.examples[result.number].shape)
        if len(shape) != 2 or shape[0] != BATCH:
            given = ", ".join("images" if size == BATCH else str(size) for size in shape)
            raise CannotCutError(
                f"{name_of_class(network)} returns a tensor [{given}], not [images, classes]"
            )


def why_one_unit(
    network: nn.Module, flows: Sequence[Flow], units: str | Sequence[str], segments: int
) -> str:
    """Why there is one unit; there were `segments` before those that share weights were joined."""
    name = name_of_class(network)
    if segments > 1:
        return (
            f"{name} cannot be divided into units that freeze apart: they share parameters, or "
            "buffers that change, which cannot freeze in one and train in the other. Untie them"
        )
    if units == "children":
        return (
            f'{name} has no two children with weights that can be units: give units = "auto", or '
            "the modules to cut behind"
        )
    if isinstance(units, str):
        reasons = [f"{path} ({why})" for path, why in flows[0].tape.why_leaves.items()]
        inside = f" Could not be looked into: {'; '.join(reasons[:3])}." if reasons else ""
        return (
            f"{name} cannot be divided into units: nowhere in its forward pass do few values cross."
            f"{inside} {HOW_TO_MEND}"
        )
    return f"units: behind the last module of {name} nothing is left: give one before it"


def held_by(network: nn.Module, flows: Sequence[Flow], segment: Segment) -> set[int]:
    """The ids of the parameters that train and the buffers that change, as far as a segment uses
    them, and of all that its modules hold.
    """
    held: set[int] = set()
    parameters = dict(network.named_parameters(remove_duplicate=False))
    trained = {path for path, each in parameters.items() if each.requires_grad}
    buffers = dict(network.named_buffers(remove_duplicate=False))
    for mode in MODES:
        # Those of the program, as that also calls again what depends on no images.
        for call in program_of(flows[mode], segment, mode).calls:
            if call.is_module:
                module = network.get_submodule(str(call.target))
                held |= {id(each) for each in (*module.parameters(), *module.buffers())}
            changed = {each.path for each in call.changed_attributes()}
            used = trained.intersection(each.path for each in call.attributes()) | changed
            held |= {id(parameters[path]) for path in used & parameters.keys()}
            held |= {id(buffers[path]) for path in changed & buffers.keys()}
    return held


def trains(network: nn.Module, flows: Sequence[Flow], segment: Segment) -> bool:
    """Whether a segment holds a parameter that requires a gradient."""
    trained = {id(each) for each in network.parameters() if each.requires_grad}
    return not trained.isdisjoint(held_by(network, flows, segment))


def build_units(
    network: nn.Module, flows: Sequence[Flow], segments: Sequence[Segment]
) -> dict[str, nn.Module]:
    """The units by name: the path of their first module or parameter with weights, _ for dots."""
    units: dict[str, nn.Module] = {}
    without_units = CutNetwork(network, {})
    for number, segment in enumerate(segments):
        programs = [program_of(flows[mode], segment, mode) for mode in MODES]
        name = unit_name(network, programs[TRAINING]) or f"unit{number}"
        while name in units or hasattr(without_units, name):
            name = f"{name}_{number}"
        if programs[TRAINING] == programs[EVALUATION] and programs[TRAINING].is_single_module:
            units[name] = network.get_submodule(str(programs[TRAINING].calls[0].target))
        else:
            units[name] = RecordedUnit(network, *programs)
    return units


def program_of(flow: Flow, segment: Segment, mode: int) -> Program:
    starts = segment.start[mode].values if segment.start else (0,)
    if segment.end is None:
        ends = flow.tape.result
    else:
        values = [Value(value) for value in segment.end[mode].values]
        ends = values[0] if len(values) == 1 else tuple(values)
    return program(flow, segment.calls(flow, mode), starts, ends)


def unit_name(network: nn.Module, chosen: Program) -> str | None:
    paths = [str(call.target) for call in chosen.calls if call.is_module]
    weighty = [
        path for path in paths if any(True for _ in network.get_submodule(path).parameters())
    ]
    big = [
        path
        for path in weighty
        if any(parameter.dim() > 1 for parameter in network.get_submodule(path).parameters())
    ]
    parameters = dict(network.named_parameters(remove_duplicate=False))
    read = [each.path for call in chosen.calls for each in call.attributes()]
    own = [path for path in read if path in parameters and parameters[path].dim() > 1]
    return next((name_of(path) for path in (*big, *weighty, *own, *paths)), None)
