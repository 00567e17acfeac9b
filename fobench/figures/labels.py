"""Short texts beside points, each on the side where least is in its way."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

FONT = 8  # this and all below in points of 1/72 inch
LETTER, LINE = 0.65 * FONT, 1.1 * FONT
MARKER = 6  # half a side of the square that the largest marker takes
RIGHT, UP = 5, 4  # from a point to its text
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps a text legible on lines

Side = tuple[int, int]  # 1: right, above; -1: left, below
Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Label:
    """What to write beside the point (x, y) of a panel; an empty text for a marker alone."""

    x: float
    y: float
    text: str
    colour: str
    alpha: float = 1.0


def write_beside(ax: Axes, labels: Sequence[Label], sides: Sequence[Side]) -> None:
    """Write all labels of a panel, on the earlier sides where it makes no difference.

    To be called last, as it asks where the points lie in the finished figure.
    """
    ax.figure.draw_without_rendering()
    pixels = ax.transData.transform([(label.x, label.y) for label in labels])
    points = [tuple(each) for each in pixels * 72 / ax.figure.dpi]
    chosen = free_sides(points, [label.text for label in labels], sides)
    for label, (right, up) in zip(labels, chosen, strict=True):
        ax.annotate(
            label.text,
            (label.x, label.y),
            xytext=(RIGHT * right, UP * up),
            textcoords="offset points",
            ha="left" if right > 0 else "right",
            va="bottom" if up > 0 else "top",
            fontsize=FONT,
            color=label.colour,
            alpha=label.alpha,
            path_effects=HALO,
            annotation_clip=True,
        )


def free_sides(
    points: Sequence[tuple[float, float]], texts: Sequence[str], sides: Sequence[Side]
) -> list[Side]:
    """For each text in turn the side where it covers least of all markers and earlier texts."""
    taken = [(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y in points]
    chosen = []
    for point, text in zip(points, texts, strict=True):
        boxes = {side: box_beside(point, text, side) for side in sides}
        side = min(sides, key=lambda side: sum(common(boxes[side], box) for box in taken))
        taken.append(boxes[side])
        chosen.append(side)
    return chosen


def box_beside(point: tuple[float, float], text: str, side: Side) -> Box:
    """What a text on that side of a point takes."""
    (x, y), (right, up) = point, side
    width = LETTER * len(text)
    left = x + RIGHT if right > 0 else x - RIGHT - width
    bottom = y + UP if up > 0 else y - UP - LINE
    return left, bottom, left + width, bottom + LINE


def common(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
