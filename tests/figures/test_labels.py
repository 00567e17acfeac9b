"""Texts beside points stay legible where points lie close."""

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from fobench.figures.labels import LINE, Label, box_beside, common, free_sides, write_beside

SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1))
coordinates = st.floats(0, 200)


def test_alone_a_text_stands_on_the_side_named_first():
    for side in SIDES:
        assert free_sides([(50.0, 50.0)], ["0.5"], [side, *SIDES]) == [side]


def test_a_text_gives_way_to_a_marker_and_to_an_earlier_text():
    here, right_above = (50.0, 50.0), (62.0, 58.0)
    first, second = free_sides([here, right_above], ["0.5", "0.8"], SIDES)
    assert first == (-1, 1), "right above is the other's marker"
    assert second == (1, 1)
    # As high and a little to the left: left above, the first text is in the way.
    first, second = free_sides([here, (42.0, 50.0)], ["0.5", "0.8"], SIDES[1:])
    assert common(box_beside(here, "0.5", first), box_beside((42.0, 50.0), "0.8", second)) == 0


@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8))
def test_a_text_covers_no_more_than_on_any_other_side(points):
    """Counted for the last text, which gives way to all others."""
    texts = ["0.5"] * len(points)
    chosen = free_sides(points, texts, SIDES)
    markers = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    earlier = [box_beside(*each) for each in zip(points[:-1], texts[:-1], chosen[:-1], strict=True)]

    def covered(side):
        box = box_beside(points[-1], texts[-1], side)
        return sum(common(box, other) for other in [*markers, *earlier])

    assert covered(chosen[-1]) == min(covered(side) for side in SIDES)


def test_boxes_share_what_lies_in_both():
    assert common((0, 0, 4, 3), (1, 1, 9, 9)) == 3 * 2
    assert common((0, 0, 1, 1), (1, 0, 2, 1)) == 0, "they touch"
    assert common((0, 0, 1, 1), (5, 5, 6, 6)) == 0


def test_texts_are_drawn_where_they_were_reckoned():
    """The box that a text takes in the picture is about the one that was kept free for it."""
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 10), xlabel="something that takes room")
    points = [(2.0, 5.0), (2.2, 5.1), (8.0, 5.0)]
    write_beside(ax, [Label(x, y, "0.85", "black") for x, y in points], SIDES)
    figure.draw_without_rendering()
    drawn = [text.get_window_extent() for text in ax.texts if isinstance(text, Annotation)]
    assert len(drawn) == 3
    pixel = figure.dpi / 72
    for i, one in enumerate(drawn):
        assert abs(one.height - LINE * pixel) < 4 * pixel
        assert not any(one.overlaps(other) for other in drawn[i + 1 :])
