"""Cuts a network into units: recorded, cut where little crosses, joined to blocks, checked."""

from collections.abc import Sequence

from torch import nn

from fobench.cutting.by_hand import cuts_behind
from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.cuts import Flow, common_cuts
from fobench.cutting.record import on_meta, record
from fobench.cutting.recorded_unit import Program, RecordedUnit, name_of, program
from fobench.cutting.refusals import CannotCutError, CannotRecordError, FailedError
from fobench.cutting.segments import Grouping, Segment, join_sharing, segments_between
from fobench.cutting.separate import separate_stateless
from fobench.cutting.stages import is_layer, stage_classes
from fobench.cutting.tape import BATCH, Value
from fobench.cutting.verify import differences, runs

MODES = TRAINING, EVALUATION = 0, 1
LARGE = 0.6  # the share of the parameters that no unit should hold alone


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
    meta = on_meta(network)
    paths = [name for name, _ in network.named_children()] if units == "children" else units
    try:
        flows = record_both(meta, image_shape, opened_for(meta, image_shape, paths))
    except CannotRecordError as error:
        if isinstance(error, FailedError) and not runs(network, image_shape):
            raise CannotCutError(why_failed(network, image_shape, error)) from error
        raise CannotCutError(
            f"{name_of_class(network)} cannot be divided into units: {error}. {HOW_TO_MEND}"
        ) from error
    require_logits(network, flows)
    if isinstance(paths, str):
        cuts, grouping = common_cuts(*flows), Grouping(network, flows[TRAINING])
        segments = grouping.units(segments_between(cuts))
    else:
        called = units == "children"
        segments = segments_between(cuts_behind(network, flows, paths, skip_uncalled=called))
    joined = join_sharing(segments, [held_by(network, flows, each) for each in segments])
    if len(joined) < 2:
        raise CannotCutError(why_one_unit(network, flows, paths, len(segments)))
    cut = CutNetwork(network, build_units(network, flows, joined))
    cut.notes = notes_on(cut)
    cut.outputs = flows[TRAINING].tape.examples[flows[TRAINING].result[0]].shape[1]
    separate_stateless(cut)
    if check:
        require_equal(network, cut, image_shape)
    return cut


def require_equal(network: nn.Module, cut: CutNetwork, image_shape: Sequence[int]) -> None:
    """Raises CannotCutError unless the units compute what the network computes."""
    try:
        wrong = differences(network, cut, image_shape)
    except FailedError as error:
        raise CannotCutError(why_failed(network, image_shape, error)) from error
    if wrong:
        raise CannotCutError(
            f"{name_of_class(network)}: its units do not compute what it computes: "
            f"{', '.join(wrong)} differ. {HOW_TO_MEND}"
        )


HOW_TO_MEND = (
    'Give places to cut behind, such as units = ["layer1", "layer2"], or write the network as an '
    "nn.Sequential of its units; see docs/networks.md"
)


def name_of_class(network: nn.Module) -> str:
    return type(network).__name__


def opened_for(meta: nn.Module, image_shape: Sequence[int], paths: str | Sequence[str]) -> set[str]:
    """The paths of the modules to look into."""
    containers = {path for path, module in meta.named_modules() if type(module) is nn.Sequential}
    if not isinstance(paths, str):
        parts = [path.split(".") for path in paths]
        return {".".join(each[:length]) for each in parts for length in range(1, len(each))}
    everything = {path for path, module in meta.named_modules() if not is_layer(module)}
    classes = stage_classes(meta, record(meta.train(), image_shape, everything))
    return containers | {path for path, module in meta.named_modules() if type(module) in classes}


def record_both(meta: nn.Module, image_shape: Sequence[int], opened: set[str]) -> list[Flow]:
    """What the network does in training mode and in evaluation mode."""
    return [Flow(record(meta.train(training), image_shape, opened)) for training in (True, False)]


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


def why_failed(network: nn.Module, image_shape: Sequence[int], error: FailedError) -> str:
    height, width, channels = image_shape
    return (
        f"{name_of_class(network)} fails on images of {height}x{width} pixels and {channels} "
        f"channels: {error}. Change data.image_size, or the network's options"
    )


def why_one_unit(
    network: nn.Module, flows: Sequence[Flow], paths: str | Sequence[str], segments: int
) -> str:
    """Why there is one unit; there were `segments` before those that share weights were joined."""
    name = name_of_class(network)
    if segments > 1:
        return (
            f"{name} cannot be divided into units that freeze apart: they share parameters, which "
            "cannot freeze in one and train in the other. Untie them"
        )
    if isinstance(paths, str):
        reasons = [f"{path} ({why})" for path, why in flows[0].tape.why_leaves.items()]
        inside = f" Could not be looked into: {'; '.join(reasons[:3])}." if reasons else ""
        return (
            f"{name} cannot be divided into units: nowhere in its forward pass do few values cross."
            f"{inside} {HOW_TO_MEND}"
        )
    return f"units: behind the last module of {name} nothing is left: give one before it"


def held_by(network: nn.Module, flows: Sequence[Flow], segment: Segment) -> set[int]:
    """The ids of the parameters that a segment uses, and of all buffers that change."""
    held: set[int] = set()
    parameters = dict(network.named_parameters(remove_duplicate=False))
    buffers = dict(network.named_buffers(remove_duplicate=False))
    for mode in MODES:
        # Those of the program, as that also calls again what depends on no images.
        for call in program_of(flows[mode], segment, mode).calls:
            if call.is_module:
                module = network.get_submodule(str(call.target))
                held |= {id(each) for each in (*module.parameters(), *module.buffers())}
            changed = {each.path for each in call.changed_attributes()}
            used = {each.path for each in call.attributes()} | changed
            held |= {id(parameters[path]) for path in used & parameters.keys()}
            held |= {id(buffers[path]) for path in changed & buffers.keys()}
    return held


def build_units(
    network: nn.Module, flows: Sequence[Flow], segments: Sequence[Segment]
) -> dict[str, nn.Module]:
    """The units by name: the path of their first module with weights, with _ for dots."""
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
    return next((name_of(path) for path in (*big, *weighty, *paths)), None)


def notes_on(cut: CutNetwork) -> list[str]:
    sizes = {
        name: sum(each.numel() for each in unit.parameters()) for name, unit in cut.named_children()
    }
    total, (largest, size) = sum(sizes.values()), max(sizes.items(), key=lambda each: each[1])
    if total and size > LARGE * total:
        return [
            f"unit {largest} holds {100 * size / total:.0f} % of the parameters, so little can "
            "freeze before it does"
        ]
    return []
