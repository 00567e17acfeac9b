"""A buffer that changes belongs to one unit: once that freezes, it changes no more."""

from collections.abc import Sequence

from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.cuts import Flow
from fobench.cutting.refusals import CannotCutError


def require_own_buffers(cut: CutNetwork, flows: Sequence[Flow]) -> None:
    """Raises CannotCutError if units share a buffer that a forward pass changes in place."""
    calls = [call for flow in flows for call in flow.tape.calls]
    changed = {each.path for call in calls for each in call.changed_attributes()}
    held = {name: set(map(id, unit.buffers())) for name, unit in cut.named_children()}
    for path, buffer in cut.original.named_buffers(remove_duplicate=False):
        users = [name for name, its in held.items() if id(buffer) in its]
        if path in changed and len(users) > 1:
            raise CannotCutError(
                f"{type(cut.original).__name__}: its forward pass changes {path}, which units "
                f"{users[0]} and {users[1]} use; when one freezes, it would change no more for the "
                "other: hold, change and use it in one module"
            )
