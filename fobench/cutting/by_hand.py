"""Cuts behind modules that a user names."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from fobench.cutting.cuts import Cut, Flow
from fobench.cutting.refusals import CannotCutError


def cuts_behind(
    network: nn.Module, flows: Sequence[Flow], paths: Sequence[str], skip_uncalled: bool
) -> list[tuple[Cut, Cut]]:
    """The cuts behind the modules at the paths, in each of two modes.

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
            if not skip_uncalled:
                problems.append(f"units: {path} is not called, or not as one: give another module")
            continue
        if places == [flow.steps[-1] for flow in flows]:
            continue  # the end of the network
        crossing = [flow.crossing(place) for flow, place in zip(flows, places, strict=True)]
        pair = tuple(Cut(*each) for each in zip(places, crossing, strict=True))
        why_not = why_no_cut(flows, pair)
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
    """The last call of or within the module at a path."""
    within = [
        number
        for number in flow.steps
        if flow.tape.calls[number].target == path
        or any(each == path for each, _ in flow.tape.calls[number].scope)
    ]
    return max(within, default=None)
