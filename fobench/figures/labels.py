"""Short texts beside points, kept clear of markers and of each other by adjustText."""

from collections.abc import Sequence
from dataclasses import dataclass

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

FONT = 8  # points of 1/72 inch
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps a text legible on lines
# By number, not by time: the same results give the same figure on any machine.
ITERATIONS = 300
ROOM = (1.6, 1.9)  # around a text, in units of its width and height: for the marker beside it
ARROW = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6}


@dataclass(frozen=True)
class Label:
    """What to write beside the point (x, y) of a panel; an empty text for a marker alone."""

    x: float
    y: float
    text: str
    colour: str
    alpha: float = 1.0


def write_beside(ax: Axes, labels: Sequence[Label]) -> None:
    """Write all labels of a panel.

    To be called last, as it asks where the points lie in the finished figure.
    """
    ax.figure.draw_without_rendering()
    written = [label for label in labels if label.text]
    texts = [
        ax.text(
            label.x,
            label.y,
            label.text,
            fontsize=FONT,
            color=label.colour,
            alpha=label.alpha,
            path_effects=HALO,
            clip_on=True,
        )
        for label in written
    ]
    if texts:
        adjust_text(
            texts,
            x=[label.x for label in labels],
            y=[label.y for label in labels],
            target_x=[label.x for label in written],
            target_y=[label.y for label in written],
            ax=ax,
            expand=ROOM,
            iter_lim=ITERATIONS,
            arrowprops=ARROW,
        )
