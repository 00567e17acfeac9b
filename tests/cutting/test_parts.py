"""Where values cross, which cuts two modes have in common, how stretches join: on tapes by hand."""

import pytest
import torch
from torch import nn

from fobench.cutting.cuts import Cut, Flow, aligned, common_cuts
from fobench.cutting.recorded_unit import program
from fobench.cutting.segments import Grouping, Segment, join_sharing, segments_between
from fobench.cutting.tape import BATCH, Attribute, Call, Images, Tape, Value, leaves, mapped


def tape(*calls: Call, result: int, shapes: dict[int, tuple[int, ...]] | None = None) -> Tape:
    """With values of 4 numbers an image, but for `shapes`."""
    count = 1 + max(each.number for call in calls for each in (*call.reads(), *call.writes()))
    examples = [
        torch.empty((shapes or {}).get(number, (BATCH, 4)), device="meta")
        for number in range(count)
    ]
    return Tape(list(calls), Value(result), examples)


def call(target, made: int | tuple[int, ...] | None, *read: int | Attribute, changes=()) -> Call:
    given = tuple(Value(each) if isinstance(each, int) else each for each in read)
    if isinstance(made, tuple):
        made = tuple(Value(each) for each in made)
    elif made is not None:
        made = Value(made)
    return Call(target, given, {}, made, changes=changes, line=("here", 1))


def test_what_crosses_is_what_was_made_before_and_is_used_behind():
    flow = Flow(
        tape(
            call(torch.sin, 1, 0),
            call(torch.cos, 2, 1),
            call(torch.add, 3, 1, 2),
            call(torch.exp, 4, 3),
            result=4,
        )
    )
    assert [flow.crossing(place) for place in range(-1, 4)] == [(0,), (1,), (1, 2), (3,), (4,)]
    assert [(cut.position, cut.values) for cut in flow.cuts()] == [(0, (1,)), (2, (3,))]


def test_what_nothing_depends_on_does_not_cross():
    unused = call(torch.cos, 2, 1)
    flow = Flow(tape(call(torch.sin, 1, 0), unused, call(torch.exp, 3, 1), result=3))
    assert flow.steps == [0, 2]


def test_a_change_in_place_counts_as_a_use_also_through_another_value():
    """Value 2 lies in the memory of value 1."""
    change = call(torch.Tensor.mul_, 2, 2, changes=(Value(1), Value(2)))
    calls = (call(torch.sin, 1, 0), call(torch.Tensor.view, 2, 1), change, call(torch.exp, 3, 1))
    flow = Flow(tape(*calls, result=3))
    assert flow.steps == [0, 1, 2, 3]
    assert flow.crossing(1) == (1, 2)
    assert [cut.states for cut in flow.cuts()] == [((1, 0),), ((1, 2),)]


def test_what_depends_on_no_images_is_made_again_but_not_where_it_is_given():
    """Value 1 is made of nothing and filled with images; value 2 is of nothing, used twice."""
    fill = call(torch.Tensor.copy_, 1, 1, 0, changes=(Value(1),))
    calls = (
        call(torch.zeros, 1),
        call(torch.ones, 2),
        fill,
        call(torch.add, 3, 1, 2),
        call(torch.mul, 4, 3, 1),
        call(torch.mul, 5, 4, 2),
    )
    flow = Flow(tape(*calls, result=5, shapes={2: (4,)}))
    assert flow.steps == [2, 3, 4, 5]
    assert flow.crossing(3) == (1, 3)
    first = program(flow, [calls[2], calls[3]], (0,), (Value(1), Value(3)))
    assert first.calls == calls[:4]
    second = program(flow, [calls[4], calls[5]], (1, 3), Value(5))
    assert second.calls == (calls[1], calls[4], calls[5])
    assert second.last_reads == ((), (1, 3), (2, 4))


def test_random_numbers_and_attributes_that_change_are_not_made_again():
    count = Attribute("count")
    drawn = Flow(tape(call(torch.rand, 1), call(torch.add, 2, 0, 1), result=2))
    assert drawn.steps == [0, 1]
    dropped = Flow(tape(call(nn.functional.dropout, 1, count), call(torch.add, 2, 0, 1), result=2))
    assert dropped.steps == [0, 1]
    read = call(torch.exp, 1, count)
    same = Flow(tape(read, call(torch.add, 2, 0, 1), result=2))
    assert same.steps == [1]
    change = call(torch.Tensor.add_, None, count, changes=(count,))
    counted = Flow(tape(read, change, call(torch.add, 2, 0, 1), result=2))
    assert counted.steps == [0, 1, 2]


@pytest.mark.parametrize(
    ("shapes", "can"),
    [
        ({1: (BATCH, 4)}, True),
        ({1: (BATCH, 4), 2: (BATCH, 2, 2)}, True),
        ({1: (4, BATCH)}, False),
        ({1: (BATCH * 2, 4)}, False),
        ({1: ()}, False),
    ],
)
def test_only_batches_can_cross(shapes, can):
    flow = Flow(tape(call(torch.sin, tuple(shapes), 0), result=1, shapes=shapes))
    assert flow.can_cross(tuple(shapes)) == can


def test_views_of_one_memory_do_not_cross_together():
    recorded = tape(call(torch.sin, 1, 0), call(torch.detach, 2, 1), result=2)
    recorded.examples[2] = recorded.examples[1].detach()
    assert not Flow(recorded).can_cross((1, 2))
    assert Flow(recorded).can_cross((2,))


def test_cuts_in_common_are_those_behind_equal_calls():
    head = call("head", 9, 8)
    training = Flow(
        tape(call("stem", 1, 0), call(torch.mul, 2, 1, 1), call("block", 8, 2), head, result=9)
    )
    evaluation = Flow(tape(call("stem", 1, 0), call("block", 8, 1), head, result=9))
    pairs = [(one.position, other.position) for one, other in common_cuts(training, evaluation)]
    assert pairs == [(0, 0), (2, 1)]
    assert aligned(training, evaluation)[(8, 2)] == (8, 1)
    assert (2, 1) not in aligned(training, evaluation)


def modules() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()),
        nn.LayerNorm(4),
        nn.Linear(4, 4),
        nn.Flatten(),
    )


def grouped(*numbers: int) -> list[list[str]]:
    """The modules in each unit, of a sequence of the modules above."""
    calls = [call(str(each), place + 1, place) for place, each in enumerate(numbers)]
    flow = Flow(tape(*calls, result=len(numbers)))
    segments = segments_between([(cut, cut) for cut in flow.cuts()])
    units = Grouping(modules(), flow).units(segments)
    return [[each.target for each in unit.calls(flow, 0)] for unit in units]


def test_norms_go_back_behind_a_bare_layer_and_forward_behind_a_block():
    assert grouped(0, 1, 2, 6) == [["0", "1", "2"], ["6"]]
    assert grouped(4, 1, 2, 6) == [["4"], ["1", "2", "6"]]
    assert grouped(4, 5, 6, 7) == [["4"], ["5", "6", "7"]]


def test_dropout_goes_forward_and_at_the_end_back():
    assert grouped(0, 3, 4, 3, 2, 6) == [["0"], ["3", "4"], ["3", "2", "6"]]
    assert grouped(0, 4, 3) == [["0"], ["4", "3"]]
    assert grouped(2, 3, 7) == [["2", "3", "7"]]


def segments(count: int) -> list[Segment]:
    cuts = [Cut(number, (number,)) for number in range(count - 1)]
    return segments_between([(cut, cut) for cut in cuts])


@pytest.mark.parametrize(
    ("held", "lengths"),
    [
        ([{1}, {2}, {3}], [1, 1, 1]),
        ([{1}, {2}, {1}, {3}], [3, 1]),
        ([{1}, {2}, {2}, {1}], [4]),
        ([{1}, {2}, {3}, {2}, {3}, {4}], [1, 4, 1]),
        ([set(), set(), {1}, set(), {1}], [1, 1, 3]),
        ([{1, 2}, {3}, {2}, {3}], [4]),
    ],
)
def test_units_that_share_are_joined_with_all_between(held, lengths):
    joined = join_sharing(segments(len(held)), held)
    first = [each.start[0].position if each.start else -1 for each in joined]
    last = [each.end[0].position if each.end else len(held) - 1 for each in joined]
    assert [end - start for start, end in zip(first, last, strict=True)] == lengths


def test_structures_keep_their_kind():
    shape = torch.empty(2, 3).shape
    values = {"a": [Value(1), (2, slice(0, Images(1)))], "b": shape}
    assert [each for each in leaves(values) if isinstance(each, Value)] == [Value(1)]
    doubled = mapped(lambda each: each * 2 if isinstance(each, int) else each, values)
    assert doubled == {"a": [Value(1), (4, slice(0, Images(1)))], "b": (4, 6)}
