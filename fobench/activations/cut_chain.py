"""How the activations of one view are made."""

from dataclasses import dataclass

from fobench.activations.store import Store


@dataclass
class CutChain:
    """How a view's activations are made: rounded at each of `cuts`, and stored at cut `stored`.

    The plan alone decides what is rounded, so results do not depend on whether a store fitted.
    """

    cuts: tuple[int, ...] = ()
    store: Store | None = None
    stored: int = 0

    @property
    def cuts_after_store(self) -> tuple[int, ...]:
        return tuple(cut for cut in self.cuts if cut > self.stored)
