"""Texts next to points stay legible where points are close."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from fobench.figures.labels import Label, draw_labels

MARKER = 5  # half a side of a marker, in points of 1/72 inch


def written(points: list[tuple[float, float]], texts: list[str]) -> Figure:
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 10), xlabel="something that takes room")
    labels = [Label(x, y, text, "black") for (x, y), text in zip(points, texts, strict=True)]
    draw_labels(ax, labels)
    figure.draw_without_rendering()
    return figure


def boxes(figure: Figure) -> list:
    return [text.get_window_extent() for text in figure.axes[0].texts if isinstance(text, Text)]


def test_no_text_lies_on_another_or_on_the_middle_of_a_marker():
    points = [(2.0, 5.0), (2.2, 5.1), (8.0, 5.0), (8.0, 5.3), (5.0, 2.0)]
    figure = written(points, ["0.85", "70%", "0.5", "0.8", "0.65"])
    drawn = boxes(figure)
    assert len(drawn) == 5
    markers = figure.axes[0].transData.transform(points)
    for i, one in enumerate(drawn):
        assert not any(one.overlaps(other) for other in drawn[i + 1 :])
        assert not any(one.contains(*marker) for marker in markers)


def test_a_text_is_near_its_point():
    points = [(2.0, 5.0), (8.0, 5.0)]
    figure = written(points, ["0.5", "0.8"])
    markers = figure.axes[0].transData.transform(points)
    for box, marker in zip(boxes(figure), markers, strict=True):
        middle = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
        assert np.linalg.norm(middle - marker) < 40 * figure.dpi / 72


def test_a_point_without_a_text_keeps_its_marker_clear():
    figure = written([(5.0, 5.0), (5.1, 5.0)], ["", "0.8"])
    (box,) = boxes(figure)
    assert not any(
        box.contains(*marker)
        for marker in figure.axes[0].transData.transform([(5.0, 5.0), (5.1, 5.0)])
    )


def test_the_same_points_give_the_same_places():
    points, texts = [(1.0, 1.0), (1.1, 1.1), (1.2, 1.0)], ["0.5", "0.6", "0.7"]
    first, second = (boxes(written(points, texts)) for _ in range(2))
    assert [box.bounds for box in first] == [box.bounds for box in second]
