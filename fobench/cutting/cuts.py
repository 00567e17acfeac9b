"""Where a recorded forward pass can be cut: places at which one value crosses, or few. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from fobench.cutting.tape import BATCH, Call, Tape, Value, leaves, memory_of

# Small values can cross beside a large one: in all at most this many times its bytes.
WITH_SMALL_ONES = 1.05
DRAWS = {
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal"),
    *("normal_", "bernoulli", "bernoulli_", "uniform_", "random_", "exponential_", "multinomial"),
}


@dataclass(frozen=True)
class Cut:
    """A cut behind call number `position`, and the values that cross it, in order.

    `written` are the calls that wrote the values last: a call can change a value in place.
    """

    position: int
    values: tuple[int, ...]
    written: tuple[int, ...] = ()

    @property
    def states(self) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self.values, self.written, strict=True))


class Flow:
    """The calls of a tape that depend on its images, and when their values are used.

    Attributes:
        steps: the numbers of these calls; the others are made again by each unit that needs them.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        changed = {each for call in tape.calls for each in call.changed_attributes()}
        dependent = {0}
        self.steps: list[int] = []
        for number, call in enumerate(tape.calls):
            reads = {each.number for each in call.reads()}
            # What reads an attribute that changes is not the same later.
            once = draws(call) or call.is_module or changed.intersection(call.attributes())
            if reads & dependent or once:
                self.steps.append(number)
                dependent |= {each.number for each in call.writes()}
        self.result = tuple(each.number for each in leaves(tape.result) if isinstance(each, Value))
        self._needed()

    def _needed(self) -> None:
        """Leave out the calls that nothing depends on, but for those that draw or change."""
        needed, kept = set(self.result), []
        for number in reversed(self.steps):
            call = self.tape.calls[number]
            writes = {each.number for each in call.writes()}
            if writes & needed or draws(call) or any(call.changed_attributes()) or call.is_module:
                kept.append(number)
                needed |= {each.number for each in call.reads()}
        self.steps = kept[::-1]

    @cached_property
    def made_by(self) -> dict[int, int]:
        """The call that makes each value; -1 for the images."""
        found = {0: -1}
        for number in self.steps:
            for each in self.tape.calls[number].writes():
                found.setdefault(each.number, number)
        return found

    @cached_property
    def last_use(self) -> dict[int, int]:
        found = dict.fromkeys(self.result, len(self.tape.calls))
        for number in reversed(self.steps):
            for each in self.tape.calls[number].reads():
                found.setdefault(each.number, number)
        return found

    @cached_property
    def made_of(self) -> dict[int, set[str]]:
        """The paths of the attributes that each value made without images is computed from."""
        found: dict[int, set[str]] = {}
        steps = set(self.steps)
        for number, call in enumerate(self.tape.calls):
            if number not in steps:
                for each in call.writes():
                    found.setdefault(each.number, set()).update(attributes_read(call, found))
        return found

    def crossing(self, position: int) -> tuple[int, ...]:
        """The values made up to call `position` that are used behind it."""
        return tuple(
            value
            for value, made in sorted(self.made_by.items())
            if made <= position < self.last_use.get(value, -2)
        )

    def bytes_of(self, value: int) -> int:
        example = self.tape.examples[value]
        return example.numel() * example.element_size()

    def can_cross(self, values: Sequence[int]) -> bool:
        """Whether the values can be handed to another unit: batches of floats of their own."""
        examples = [self.tape.examples[value] for value in values]
        return len({memory_of(each) for each in examples}) == len(examples) and all(
            each.is_floating_point() and each.dim() > 0 and each.shape[0] == BATCH
            for each in examples
        )

    def allows(self, values: Sequence[int], position: int) -> bool:
        """Whether a unit may end behind a call with these values crossing.

        One value; or several that are one list, or that the next call, of a module, reads; or one
        with small ones beside it.
        """
        if not values or not self.can_cross(values):
            return False
        if len(values) == 1:
            return True
        made = {self.made_by[value] for value in values}
        after = [number for number in self.steps if number > position]
        following = self.tape.calls[after[0]] if after else None
        reads = {each.number for each in following.reads()} if following else set()
        sizes = [self.bytes_of(value) for value in values]
        return (
            len(made) == 1
            or (following is not None and following.is_module and set(values) <= reads)
            or sum(sizes) <= WITH_SMALL_ONES * max(sizes)
        )

    def cuts(self) -> list[Cut]:
        """All places where a unit may end, but for the end; of equal ones the first."""
        found: dict[tuple[tuple[int, int], ...], Cut] = {}
        written = {0: -1}
        for number in self.steps[:-1]:
            written |= {each.number: number for each in self.tape.calls[number].writes()}
            values = self.crossing(number)
            cut = Cut(number, values, tuple(written[value] for value in values))
            if cut.states != ((0, -1),) and cut.states not in found and self.allows(values, number):
                found[cut.states] = cut
        return list(found.values())


def attributes_read(call: Call, made_of: Mapping[int, set[str]]) -> set[str]:
    """The paths of the attributes that a call reads, or values that are made of them."""
    through = (made_of.get(each.number, set()) for each in call.reads())
    return {each.path for each in call.attributes()}.union(*through)


def draws(call: Call) -> bool:
    """Whether a call draws random numbers that no image is needed for: once, and not again."""
    name = getattr(call.target, "__name__", "")
    return name in DRAWS or "dropout" in name


def common_cuts(training: Flow, evaluation: Flow) -> list[tuple[Cut, Cut]]:
    """The cuts that are there in both modes, with values that correspond to each other."""
    partner = aligned(training, evaluation)
    of_evaluation = {cut.states: cut for cut in evaluation.cuts()}
    found: list[tuple[Cut, Cut]] = []
    for cut in training.cuts():
        there = of_evaluation.get(tuple(partner.get(each, (-1, -1)) for each in cut.states))
        if there and (not found or found[-1][1].position <= there.position):
            found.append((cut, there))
    return found


def aligned(one: Flow, other: Flow) -> dict[tuple[int, int], tuple[int, int]]:
    """For values of a tape, as calls wrote them, those of another that equal calls wrote."""
    signatures = [
        [signature(flow.tape.calls[number], flow) for number in flow.steps] for flow in (one, other)
    ]
    matcher = SequenceMatcher(None, *signatures, autojunk=False)
    partner = {(0, -1): (0, -1)}
    for start, there, length in matcher.get_matching_blocks():
        for step in range(length):
            mine, its = one.steps[start + step], other.steps[there + step]
            pairs = zip(one.tape.calls[mine].writes(), other.tape.calls[its].writes(), strict=True)
            for value, twin in pairs:
                partner.setdefault((value.number, mine), (twin.number, its))
    return partner


def signature(call: Call, flow: Flow) -> tuple[object, ...]:
    """Equal for calls in two modes that are the same: of a module, or from the same line.

    Otherwise noise that is added in training only could pass for the addition of something else.
    """
    shapes = [tuple(flow.tape.examples[each.number].shape) for each in call.writes()]
    if call.is_module:
        return (call.target, *shapes)
    return (call.line, getattr(call.target, "__name__", call.target), *shapes)
