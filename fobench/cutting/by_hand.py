"""Cuts behind modules that a user names."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from fobench.cutting.cuts import Cut, Flow
from fobench.cutting.refusals import CannotCutError
from fobench.cutting.tape import Call


def cuts_behind(
    network: nn.Module, flows: Sequence[Flow], paths: Sequence[str], are_named: bool
) -> list[tuple[Cut, Cut]]:
    """The cuts behind the modules at the paths, in each of two modes.

    Where they are not named by a user, those that are not called are passed over, and lists of
    modules that end in no cut.

    Raises CannotCutError naming all that cannot be.
    """
    problems, found = [], []
    known = {path for path, _ in network.named_modules(remove_duplicate=False)}
    for path in dict.fromkeys(paths):
        if path not in known:
            problems.append(f'units: {type(network).__name__} has no module "{path}"')
            continue
        places = [place_behind(flow, path) for flow in flows]
        if None in places:
            if are_named:
                problems.append(f"units: {why_uncalled(flows, path)}: give another module")
            continue
        if places == [flow.steps[-1] for flow in flows]:
            continue  # the end of the network
        pair = cuts_at(flows, places)
        why_not = why_no_cut(flows, pair)
        if why_not and not are_named and not is_one_call(flows[0], path):
            continue
        if why_not:
            problems.append(f"units: the network cannot be cut behind {path}: {why_not}")
        else:
            found.append(pair)
    found.sort(key=lambda pair: pair[0].position)
    if any(one[1].position > other[1].position for one, other in pairwise(found)):
        problems.append("units: they are called in another order in evaluation mode: give fewer")
    if problems:
        raise CannotCutError(problems)
    # Two modules can end at one place.
    return [
        pair
        for pair, before in zip(found, [None, *found], strict=False)
        if before is None or pair[0].position > before[0].position
    ]


def cuts_at(flows: Sequence[Flow], places: Sequence[int]) -> tuple[Cut, ...]:
    return tuple(
        Cut(place, flow.crossing(place)) for flow, place in zip(flows, places, strict=True)
    )


def can_cut_behind(flows: Sequence[Flow], path: str) -> bool:
    """Whether the network can be cut behind a module."""
    places = [place_behind(flow, path) for flow in flows]
    return None not in places and why_no_cut(flows, cuts_at(flows, places)) is None


def why_no_cut(flows: Sequence[Flow], pair: Sequence[Cut]) -> str | None:
    shapes = [
        [tuple(flow.tape.examples[value].shape[1:]) for value in cut.values]
        for flow, cut in zip(flows, pair, strict=True)
    ]
    if not all(flow.can_cross(cut.values) for flow, cut in zip(flows, pair, strict=True)):
        return (
            f"{len(shapes[0])} values cross there, of shapes {shapes[0]}, not all of them batches "
            "of floats of their own"
        )
    if shapes[0] != shapes[1]:
        return f"values of shapes {shapes[0]} cross in training, but {shapes[1]} in evaluation"
    return None


def place_behind(flow: Flow, path: str) -> int | None:
    """The last call of or within the module at a path, such as those of the modules of a list."""
    within = [number for number in flow.steps if is_within(flow.tape.calls[number], path)]
    return max(within, default=None)


def is_within(call: Call, path: str) -> bool:
    """Whether a call is of or within the module at a path."""
    modules = [each for each, _ in call.scope]
    if call.is_module:
        modules.append(str(call.target))
    return any(each == path or each.startswith(f"{path}.") for each in modules)


def is_one_call(flow: Flow, path: str) -> bool:
    """Whether the module at a path is itself called, not the modules of a list only."""
    calls = [flow.tape.calls[number] for number in flow.steps]
    return any(call.target == path or path in dict(call.scope) for call in calls)


def why_uncalled(flows: Sequence[Flow], path: str) -> str:
    """Why there is no call of a module."""
    for around, why in (each for flow in flows for each in flow.tape.why_leaves.items()):
        if path.startswith(f"{around}."):
            return f"{path} is in {around}, which could not be looked into ({why})"
    return f"{path} is not called"
